"""``runtime predict``: one table or many, a preview or everything."""

from __future__ import annotations

import sys
from contextlib import ExitStack
from pathlib import PurePath
from typing import TYPE_CHECKING

from msgspec.structs import replace

from runtime.errors import UsageError
from runtime.io.atomic import atomic_file
from runtime.io.paths import STANDARD_STREAM, check_distinct, is_folder_or_pattern
from runtime.printable import printable_lines
from runtime.scoring.options import rejects_path
from runtime.terminal import process

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from runtime.predictor import Predictor
    from runtime.scoring.options import Options
    from runtime.scoring.summary import Summary


def refuse_extra_arguments(file: Path, words: Sequence[str]) -> None:
    """Refuse words that belong to no option, as a shell makes of a pattern without quotes."""
    if not words:
        return
    advice = ""
    if len(words) > 1 or file.suffix == PurePath(words[0]).suffix:
        advice = f"; put a pattern in quotes: --file {str(file.parent / f'*{file.suffix}')!r}"
    raise UsageError(f"{words[0]} belongs to no option{advice}")


def wants_preview(source: Path, *, wants_all: bool) -> bool:
    """Whether a user at a terminal wants a preview rather than all rows."""
    return not wants_all and sys.stdout.isatty() and not is_folder_or_pattern(source)


def preview(predictor: Predictor, source: Path, options: Options) -> str:
    """Score the first rows and draw them."""
    from runtime.scoring.preview import score_preview
    from runtime.terminal.preview import PREVIEW_ROWS, format_preview

    first = score_preview(predictor, source, options, PREVIEW_ROWS)
    return format_preview(
        first.names,
        first.rows,
        new=first.new,
        total=first.total,
        save=_repeat(source, options, bad=first.bad),
        stream=sys.stdout,
    )


def _repeat(source: Path, options: Options, *, bad: bool) -> str:
    """Format the command that saves what was previewed, and continues at bad rows."""
    import shlex

    words = ["runtime", *sys.argv[1:]]
    if bad and options.bad_rows == "fail":
        words += ["--bad-rows", "null"]
    ending = options.out_format or "csv"
    name = f"scored.{ending}" if source.name != f"scored.{ending}" else f"scored.again.{ending}"
    again = " ".join(map(shlex.quote, [*words, "--out", name]))
    return f"… | {again}" if source == STANDARD_STREAM else again


def check_summary(saved: Path, source: Path, out: Path, options: Options) -> None:
    """Refuse a place for the summary that is needed for something else."""
    if saved == STANDARD_STREAM:
        raise UsageError("--summary names a file; --json prints the same")
    if not is_folder_or_pattern(source):
        check_distinct(source, out, rejects_path(out, options), options.drift, saved)
        return
    from runtime.io.discovery import find_tables

    root, tables = find_tables(source)
    for name in tables:
        check_distinct(root / name, saved, options.drift)


def score(
    predictor: Predictor,
    source: Path,
    out: Path,
    options: Options,
    *,
    saved: Path | None = None,
    profile: bool = False,
) -> Summary:
    """Score one table or many, with a progress bar on a terminal."""
    with ExitStack() as stack:
        stream = None
        if saved:
            check_summary(saved, source, out, options)
            stream = stack.enter_context(atomic_file(saved))
        done = _score(predictor, source, out, options)
        done = done if profile else replace(done, stages={})
        if stream:
            stream.write(done.to_json())
    return done


def _score(predictor: Predictor, source: Path, out: Path, options: Options) -> Summary:
    if is_folder_or_pattern(source):
        from runtime.scoring.batch import score_files

        return score_files(predictor, source, out, options, _announce).total
    from runtime.scoring.pipeline import score_file
    from runtime.terminal.progress import scoring_progress

    with process.exit_on_broken_pipe(), scoring_progress(source, out) as on_progress:
        return score_file(predictor, source, out, options, on_progress)


def report(shown: Summary, out: Path, *, profile: bool, as_json: bool, is_taken: bool) -> None:
    """Say what was done."""
    if as_json:
        answer = process.compact_json(shown.values())
        process.log(answer) if is_taken else process.echo(answer)
    elif sys.stderr.isatty() or profile or shown.truth or shown.drift:
        from runtime.terminal.summary import format_summary

        process.log(format_summary(shown, out, sys.stderr))
    else:
        process.log(printable_lines(_in_a_line(shown, out)))


def _in_a_line(summary: Summary, out: Path) -> str:
    """Say the same in a line or two, for logs."""
    where = "standard output" if out == STANDARD_STREAM else str(out)
    text = (
        f"{summary.scored:,} of {summary.rows:,} rows scored to {where} "
        f"in {summary.seconds:.2f} s ({summary.rows_per_second:,.0f} rows/s) "
        f"on {summary.provider} ({summary.provider_reason})"
    )
    if summary.rejected:
        reasons = ", ".join(f"{count:,} {reason}" for reason, count in summary.reasons.items())
        kept = f"listed in {summary.rejects}" if summary.rejects else "kept with empty answers"
        text += f"\n{summary.rejected:,} bad rows {kept}: {reasons}"
    outside = {name: counts.total for name, counts in summary.out_of_range.items() if counts.total}
    if outside:
        counted = ", ".join(f"{name} {count:,}" for name, count in outside.items())
        text += f"\nvalues outside the range of training, scored anyway: {counted}"
    return text


def _announce(table: Path, number: int, tables: int) -> None:
    if sys.stderr.isatty():
        process.log(printable_lines(f"{number} of {tables}: {table}"))
