"""Format the summary of a scoring run."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Final, TextIO

from runtime.io.paths import STANDARD_STREAM
from runtime.printable import list_first, printable
from runtime.terminal.tables import (
    confusion_table,
    cut,
    new_table,
    percent,
    render_tables,
)
from runtime.wrapping import terminal_width

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from rich.console import RenderableType
    from rich.table import Table

    from runtime.io.paths import Location
    from runtime.monitoring.accuracy import AccuracyReport
    from runtime.monitoring.drift import DriftReport
    from runtime.monitoring.ranges import OutOfRange
    from runtime.scoring.summary import Summary

    Line = tuple[str, str, str]  # name, value, note


_MAX_LINES: Final = 10  # per section
_MAX_NAME_WIDTH: Final = 24
_MAX_NAMES: Final = 100  # of columns in a line; the report has all
_MIN_TABLE_WIDTH: Final = 60


def format_summary(summary: Summary, out: Location, stream: TextIO) -> str:
    """Format a summary for the width of the terminal."""
    width, lines = terminal_width(stream), _lines(summary, out)
    parts: list[RenderableType] = (
        [_build_table(lines)] if width >= _MIN_TABLE_WIDTH else _join(lines)
    )
    if summary.truth and summary.truth.rows:
        parts += ["", confusion_table(summary.truth, width)]
    if summary.stages:
        parts += ["", _stages_table(summary.stages)]
    return render_tables(*parts, stream=stream)


def _lines(summary: Summary, out: Location) -> Iterator[Line]:
    """List names, values and notes."""
    where = "standard output" if out == STANDARD_STREAM else str(out)
    speed = f"{summary.seconds:.2f} s, {summary.rows_per_second:,.0f} rows/s"
    yield "rows", f"{summary.rows:,}", speed
    yield "scored", f"{summary.scored:,}", f"to {where}"
    if summary.rejected:
        kept = f"listed in {summary.rejects}" if summary.rejects else "kept with empty predictions"
        yield "rejected", f"{summary.rejected:,}", kept
        yield from _truncate(
            ("", f"{count:,}", reason)
            for reason, count in sorted(summary.reasons.items(), key=lambda pair: -pair[1])
        )
    for hint in summary.hints:
        yield "hint", "", hint
    if summary.absent:
        yield "absent", f"{len(summary.absent):,}", "features that no record has, all missing"
        yield from _truncate((f"  {name}", "", "") for name in summary.absent)
    yield from _range_lines(summary.out_of_range)
    for warning in summary.warnings:
        yield "warning", "", warning
    if summary.drift:
        yield from _drift_lines(summary.drift, summary.files.get("drift"))
    if summary.truth:
        yield from _truth_lines(summary.truth)
    if summary.probability_note:
        yield "probability", "", summary.probability_note
    yield "provider", summary.provider, summary.provider_reason
    if summary.model:
        yield "model", "", summary.model
    if path := summary.files.get("summary"):
        yield "summary", "", f"written to {path}"


def _range_lines(out_of_range: Mapping[str, OutOfRange]) -> Iterator[Line]:
    """List counts of values outside the training range, by feature."""
    nonzero = {name: counts for name, counts in out_of_range.items() if counts.total}
    if not nonzero:
        return
    yield "out of range", "", "of training; scored anyway"
    lines = []
    for name, counts in nonzero.items():
        below = f"{counts.below:,} below" if counts.below else ""
        above = f"{counts.above:,} above" if counts.above else ""
        what = "unseen or rare categories" if counts.has_rare else "unseen categories"
        unseen = f"{counts.unseen:,} {what}" if counts.unseen else ""
        notes = ", ".join(filter(None, (below, above, unseen)))
        lines.append((f"  {name}", f"{counts.total:,}", notes))
    yield from _truncate(lines)


def _drift_lines(drift: DriftReport, path: Location | None) -> Iterator[Line]:
    """List the drift of features, in descending order, then the columns that have none."""
    written = f"; report written to {path}" if path else ""
    yield "drift", "", f"PSI against training{written}"
    by_drift = sorted(
        drift.features, key=lambda feature: (feature.reason or "", -(feature.psi or 0))
    )
    yield from _name_all(
        (
            feature.name,
            "" if feature.psi is None or feature.reason else f"{feature.psi:.3f}",
            f"{feature.reading}: {feature.reason}" if feature.reason else feature.reading,
        )
        for feature in by_drift
    )
    if drift.others:
        yield "other columns", "", "no drift: the model does not read them"
        yield from _name_all((other.name, "", other.reason) for other in drift.others)


def _truth_lines(truth: AccuracyReport) -> Iterator[Line]:
    if truth.accuracy:
        low, high = percent(truth.accuracy.low), percent(truth.accuracy.high)
        note = f"of {truth.rows:,} rows; 95 % interval {low} to {high}"
        yield "accuracy", percent(truth.accuracy.share), note
    if truth.other:
        values = ", ".join(map(repr, truth.other_values))
        yield (
            "not compared",
            f"{truth.other:,}",
            truth.hint or f"not a class of the model: {values}",
        )


def _name_all(lines: Iterable[Line]) -> Iterator[Line]:
    """Take the first few lines, and join the names of the others by their note."""
    lines = iter(lines)
    yield from ((f"  {name}", value, note) for name, value, note in islice(lines, _MAX_LINES))
    joined: dict[str, list[str]] = {}
    for name, _, note in lines:
        joined.setdefault(note, []).append(name)
    for note, names in joined.items():
        yield f"  {len(names):,} more", "", f"{note}: {list_first(names, _MAX_NAMES)}"


def _truncate(lines: Iterable[Line]) -> Iterator[Line]:
    """Take the first few lines, and count the others."""
    lines = iter(lines)
    yield from islice(lines, _MAX_LINES)
    if more := sum(1 for _ in lines):
        yield f"  and {more:,} more", "", ""


def _build_table(lines: Iterable[Line]) -> Table:
    from rich.text import Text

    table = new_table(header=False)
    table.add_column(style="bold", no_wrap=True)
    table.add_column(justify="right", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value, note in lines:
        table.add_row(Text(cut(name, _MAX_NAME_WIDTH)), Text(value), Text(printable(note)))
    return table


def _join(lines: Iterable[Line]) -> list[RenderableType]:
    """Format lines for a narrow terminal, without columns."""
    from rich.text import Text

    joined: list[RenderableType] = []
    for name, value, note in lines:
        rest = ", ".join(filter(None, (value, printable(note))))
        joined.append(Text.assemble((cut(name, _MAX_NAME_WIDTH), "bold"), "  ", rest))
    return joined


def _stages_table(stages: Mapping[str, float]) -> Table:
    """Build a table of seconds by stage, summed over threads."""
    from rich.text import Text

    table, total = new_table(), sum(stages.values())
    table.add_column("stage", no_wrap=True)
    table.add_column("seconds", justify="right", no_wrap=True)
    table.add_column("share", justify="right", no_wrap=True)
    for name, seconds in stages.items():
        share = percent(seconds / total if total else None)
        table.add_row(Text(cut(name, _MAX_NAME_WIDTH)), f"{seconds:.3f}", share)
    table.add_row("all threads", f"{total:.3f}", "", style="bold")
    return table
