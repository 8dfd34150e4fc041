"""Implementation of ``runtime predict``."""

from __future__ import annotations

import os
import sys
from contextlib import ExitStack
from itertools import chain, count
from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from runtime.errors import UsageError
from runtime.io.atomic import atomic_file
from runtime.io.paths import STANDARD_STREAM, check_distinct, is_folder_or_pattern, state_of
from runtime.printable import list_first, printable_lines, quote_command
from runtime.scoring.options import rejects_path
from runtime.scoring.outputs import SUMMARY, check_absent, check_report_output
from runtime.surfaces import advise_encoding, option
from runtime.terminal import process

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from pathlib import Path

    from runtime.choices import EngineChoice
    from runtime.engines.job import ClusterOptions, EngineJob
    from runtime.io.paths import Location
    from runtime.predictor import Predictor
    from runtime.scoring.options import Options
    from runtime.scoring.preview import Preview
    from runtime.scoring.summary import Summary


def wants_preview(source: Location, *, wants_all: bool) -> bool:
    """Whether a user at a terminal wants a preview rather than all rows."""
    return not wants_all and sys.stdout.isatty() and not is_folder_or_pattern(source)


def preview(predictor: Predictor, source: Location, options: Options) -> str:
    """Score and format the first rows."""
    from runtime.scoring.preview import score_preview
    from runtime.terminal.preview import PREVIEW_ROWS, format_preview

    first = score_preview(predictor, source, options, PREVIEW_ROWS)
    return format_preview(
        first.names,
        first.rows,
        n_added=first.n_added,
        total=first.total,
        notes=[*_describe_problems(first, options), *_save_commands(source, options, first)],
        stream=sys.stdout,
    )


def _describe_problems(first: Preview, options: Options) -> Iterator[str]:
    """Describe what is wrong with the rows that were read, and the options to choose from."""
    encoding = advise_encoding()
    if first.is_undecodable:
        yield f"text that is not UTF-8 is shown as \\xe4: {encoding}"
    yield from (
        each for each in first.hints if not (first.is_undecodable and each.endswith(encoding))
    )
    if first.bad:
        of = f"{first.read:,}" if first.total is not None else f"the first {first.read:,}"
        are = "is" if first.bad == 1 else "are"
        choice = f": choose {option('bad_rows', 'reject')} or null"
        yield f"{first.bad:,} of {of} rows {are} bad{choice if options.bad_rows == 'fail' else ''}"


def _save_commands(source: Location, options: Options, first: Preview) -> Iterator[str]:
    """Format the commands that score all rows to a file: with bad rows one for each policy."""
    words = ["runtime", *sys.argv[1:]]
    out = ["--out", _unused_name(options)]
    title = "save all" if source != STANDARD_STREAM else "save all, piped in again"
    if not first.bad or options.bad_rows != "fail":
        yield f"{title}: {quote_command([*words, *out])}"
        return
    for policy in ("reject", "null"):
        yield f"{title}: {quote_command([*words, '--bad-rows', policy, *out])}"


def _unused_name(options: Options) -> str:
    """Choose a name to save under that replaces no file."""
    extension = options.out_format or "csv"
    names = (f"scored{number}.{extension}" for number in chain([""], count(2)))
    return next(name for name in names if not os.path.lexists(name))


def check_summary_path(path: Location, source: Location, out: Location, options: Options) -> None:
    """Refuse a summary file that is an input or another output."""
    if path == STANDARD_STREAM:
        raise UsageError("--summary names a file; --json prints the same")
    if not is_folder_or_pattern(source):
        check_distinct(source, out, rejects_path(out, options), options.drift, path)
        return
    from runtime.io.discovery import find_tables

    root, tables = find_tables(source)
    for name in tables:
        check_distinct(root / name, path, options.drift)


def score(
    run: Callable[[], Summary],
    source: Location,
    out: Location,
    options: Options,
    *,
    summary_path: Location | None = None,
    profile: bool = False,
) -> Summary:
    """Score with ``score_here`` or ``score_on_ray``, and write the summary file."""
    rejects = None if is_folder_or_pattern(source) else rejects_path(out, options)
    outputs = [path for path in (out, rejects, options.drift, summary_path) if path]
    before = {path: state_of(path) for path in outputs}
    with ExitStack() as stack:
        stack.enter_context(process.on_interrupt(lambda: _describe_kept(before)))
        stream = None
        if summary_path:
            check_summary_path(summary_path, source, out, options)
            if options.no_overwrite:
                check_absent(summary_path)
            check_report_output(summary_path, SUMMARY, force=options.force)
            replaces = not options.no_overwrite
            stream = stack.enter_context(atomic_file(summary_path, replaces=replaces))
        summary = _traced(run)
        summary = summary if profile else replace(summary, stages={})
        if stream and summary_path:
            summary = replace(summary, files={**summary.files, "summary": summary_path})
            stream.write(summary.to_json())
    return summary


def _describe_kept(before: Mapping[Location, object]) -> str:
    """Say which outputs an interrupted run has left; files appear when they are complete."""
    if written := [str(path) for path, state in before.items() if state_of(path) != state]:
        return f"written: {list_first(written)}"
    if STANDARD_STREAM in before:
        return "the rows on standard output are incomplete, and no file was written"
    return "nothing was written"


def _traced(run: Callable[[], Summary]) -> Summary:
    """Run, with a span where a variable asks for telemetry."""
    if not any(name.startswith("OTEL_") for name in os.environ):
        return run()
    from runtime.scoring.tracing import traced_run

    def tell(problem: str) -> None:
        process.log(printable_lines(f"warning: {problem}"))

    return traced_run(run, tell)


def score_here(predictor: Predictor, source: Location, out: Location, options: Options) -> Summary:
    """Score one or several tables."""
    from runtime.terminal.progress import scoring_progress

    if is_folder_or_pattern(source):
        from runtime.io.discovery import find_tables
        from runtime.scoring.batch import score_files

        with scoring_progress(source, out, size=_size(*find_tables(source))) as on_progress:
            return score_files(predictor, source, out, options, _log_table, on_progress).total
    from runtime.scoring.pipeline import score_file

    with process.exit_on_broken_pipe(), scoring_progress(source, out) as on_progress:
        return score_file(predictor, source, out, options, on_progress)


def cluster_options(engine: EngineChoice | None, **given: Any) -> ClusterOptions | None:  # noqa: ANN401 - are parsed by typer
    """Collect the options of an engine, and refuse them without one."""
    used = {name: each for name, each in given.items() if not (each is None or each is False)}
    if engine:
        from runtime.engines.job import ClusterOptions

        return ClusterOptions(**used)
    if used:
        name = next(iter(used))
        raise UsageError(
            f"{option(name)} is for the cluster of an engine: give {option('engine', 'ray')} with "
            "it, or leave it out"
        )
    return None


def score_on_ray(job: EngineJob) -> Summary:
    """Score tables on Ray, with a progress bar on a terminal."""
    from runtime.engines.ray.tables import score_on_ray as run_on_ray
    from runtime.io.discovery import find_tables
    from runtime.terminal.progress import scoring_progress

    size = _size(*find_tables(job.source)) if is_folder_or_pattern(job.source) else None
    with (
        process.on_interrupt(lambda: _describe_resumable(job.out)),
        scoring_progress(job.source, job.out, size=size) as on_progress,
    ):
        result = run_on_ray(job, _log_table, on_progress)
    if result.resumed:
        what = "tables" if is_folder_or_pattern(job.source) else "parts"
        process.log(f"{result.resumed:,} {what} were complete already, of an interrupted run")
    return result.summary


def _describe_resumable(out: Location) -> str:
    from runtime.engines.parts import staging_folder
    from runtime.io.destinations import staged_runs

    if not any(map(staged_runs, {out, staging_folder(out)})):
        return ""
    return f"what is complete is kept, and {option('resume')} continues with it"


def _size(root: Location, tables: Iterable[Path]) -> int:
    return sum((root / name).stat().st_size for name in tables)


def report(
    summary: Summary, out: Location, *, profile: bool, as_json: bool, uses_stdout: bool
) -> None:
    """Print the summary: JSON to stdout unless rows are written there, text to stderr."""
    if as_json:
        text = process.compact_json(summary.values())
        process.log(text) if uses_stdout else process.echo(text)
    elif sys.stderr.isatty() or profile or summary.truth or summary.drift:
        from runtime.terminal.summary import format_summary

        process.log(format_summary(summary, out, sys.stderr))
    else:
        process.log(printable_lines(_format_log(summary, out)))


def _format_log(summary: Summary, out: Location) -> str:
    """Format the summary as a few lines for logs."""
    where = "standard output" if out == STANDARD_STREAM else str(out)
    text = (
        f"{summary.scored:,} of {summary.rows:,} rows scored to {where} "
        f"in {summary.seconds:.2f} s ({summary.rows_per_second:,.0f} rows/s) "
        f"on {summary.provider} ({summary.provider_reason})"
    )
    if summary.rejected:
        reasons = ", ".join(f"{count:,} {reason}" for reason, count in summary.reasons.items())
        kept = f"listed in {summary.rejects}" if summary.rejects else "kept with empty predictions"
        rows = "bad row" if summary.rejected == 1 else "bad rows"
        text += f"\n{summary.rejected:,} {rows} {kept}: {reasons}"
    text += "".join(f"\nhint: {hint}" for hint in summary.hints)
    if summary.probability_note:
        text += f"\nprobability is {summary.probability_note}"
    if summary.absent:
        text += f"\nmissing in every record: {list_first(summary.absent)}"
    totals = {name: counts.total for name, counts in summary.out_of_range.items() if counts.total}
    if totals:
        by_count = sorted(totals.items(), key=lambda pair: -pair[1])
        listed = list_first([f"{name} {count:,}" for name, count in by_count])
        text += f"\nvalues outside the training range, scored anyway: {listed}"
    for name, what in (("drift", "drift report"), ("summary", "summary")):
        if path := summary.files.get(name):
            text += f"\n{what} written to {path}"
    return "\n".join((text, *(f"warning: {warning}" for warning in summary.warnings)))


def _log_table(table: Location, number: int, tables: int) -> None:
    if sys.stderr.isatty():
        process.log(printable_lines(f"{number} of {tables}: {table}"))
