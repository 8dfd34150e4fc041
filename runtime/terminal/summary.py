"""Format the summary of a scoring run."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Final, TextIO

from runtime.io.paths import STANDARD_STREAM
from runtime.printable import printable
from runtime.terminal.tables import cut, draw_confusion, new_table, percent, render, terminal_width

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

    from rich.console import RenderableType
    from rich.table import Table

    from runtime.monitoring.accuracy import AccuracyReport
    from runtime.monitoring.drift import DriftReport
    from runtime.monitoring.ranges import OutOfRange
    from runtime.scoring.summary import Summary

    Line = tuple[str, str, str]  # name, figure, note


_MOST_LINES: Final = 10  # of one kind
_WIDEST_NAME: Final = 24  # columns of the terminal
_ROOM_FOR_NOTES: Final = 60


def format_summary(summary: Summary, out: Path, stream: TextIO) -> str:
    """Draw what was done."""
    width, lines = terminal_width(stream), _lines(summary, out)
    parts: list[RenderableType] = [_draw(lines)] if width >= _ROOM_FOR_NOTES else _join(lines)
    if summary.truth and summary.truth.rows:
        parts += ["", draw_confusion(summary.truth, width)]
    if summary.stages:
        parts += ["", _draw_stages(summary.stages)]
    return render(*parts, stream=stream)


def _lines(summary: Summary, out: Path) -> Iterator[Line]:
    """Say everything that is a name, a figure and a note."""
    where = "standard output" if out == STANDARD_STREAM else str(out)
    speed = f"{summary.seconds:.2f} s, {summary.rows_per_second:,.0f} rows/s"
    yield "rows", f"{summary.rows:,}", speed
    yield "scored", f"{summary.scored:,}", f"to {where}"
    if summary.rejected:
        kept = f"listed in {summary.rejects}" if summary.rejects else "kept with empty answers"
        yield "rejected", f"{summary.rejected:,}", kept
        yield from _first(
            (f"  {reason}", f"{count:,}", "")
            for reason, count in sorted(summary.reasons.items(), key=lambda pair: -pair[1])
        )
    yield from _outside_lines(summary.out_of_range)
    if summary.drift:
        yield from _drift_lines(summary.drift)
    if summary.truth:
        yield from _truth_lines(summary.truth)
    yield "provider", summary.provider, summary.provider_reason
    if summary.model:
        yield "model", "", summary.model


def _outside_lines(outside: Mapping[str, OutOfRange]) -> Iterator[Line]:
    """Say how many values of which features are unlike any of training."""
    found = {name: counts for name, counts in outside.items() if counts.total}
    if not found:
        return
    yield "out of range", "", "of training; scored anyway"
    lines = []
    for name, counts in found.items():
        below = f"{counts.below:,} below" if counts.below else ""
        above = f"{counts.above:,} above" if counts.above else ""
        unseen = f"{counts.unseen:,} unseen categories" if counts.unseen else ""
        sides = ", ".join(filter(None, (below, above, unseen)))
        lines.append((f"  {name}", f"{counts.total:,}", sides))
    yield from _first(lines)


def _drift_lines(drift: DriftReport) -> Iterator[Line]:
    """Say how far the features have drifted, the farthest first."""
    yield "drift", "", "PSI against training"
    farthest = sorted(drift.features, key=lambda feature: -(feature.psi or 0.0))
    yield from _first(
        (
            f"  {feature.name}",
            "" if feature.psi is None else f"{feature.psi:.3f}",
            feature.reading,
        )
        for feature in farthest
    )


def _truth_lines(truth: AccuracyReport) -> Iterator[Line]:
    if truth.accuracy:
        low, high = percent(truth.accuracy.low), percent(truth.accuracy.high)
        note = f"of {truth.rows:,} rows; 95 % interval {low} to {high}"
        yield "accuracy", percent(truth.accuracy.share), note
    if truth.other:
        values = ", ".join(map(repr, truth.other_values))
        yield "not compared", f"{truth.other:,}", truth.hint or f"no class of the model: {values}"


def _first(lines: Iterable[Line]) -> Iterator[Line]:
    """Give the first few lines of a kind, and how many more there are."""
    lines = iter(lines)
    yield from islice(lines, _MOST_LINES)
    if more := sum(1 for _ in lines):
        yield f"  and {more:,} more", "", ""


def _draw(lines: Iterable[Line]) -> Table:
    from rich.text import Text

    table = new_table(header=False)
    table.add_column(style="bold", no_wrap=True)
    table.add_column(justify="right", no_wrap=True)
    table.add_column(overflow="fold")
    for name, figure, note in lines:
        table.add_row(Text(cut(name, _WIDEST_NAME)), Text(figure), Text(printable(note)))
    return table


def _join(lines: Iterable[Line]) -> list[RenderableType]:
    """Write names, figures and notes one after the other, where columns would be too narrow."""
    from rich.text import Text

    joined: list[RenderableType] = []
    for name, figure, note in lines:
        rest = ", ".join(filter(None, (figure, printable(note))))
        joined.append(Text.assemble((cut(name, _WIDEST_NAME), "bold"), "  ", rest))
    return joined


def _draw_stages(stages: Mapping[str, float]) -> Table:
    """Draw where the time went; threads work at once, so it may sum to more than wall time."""
    from rich.text import Text

    table, whole = new_table(), sum(stages.values())
    table.add_column("stage", no_wrap=True)
    table.add_column("seconds", justify="right", no_wrap=True)
    table.add_column("share", justify="right", no_wrap=True)
    for name, spent in stages.items():
        share = percent(spent / whole if whole else None)
        table.add_row(Text(cut(name, _WIDEST_NAME)), f"{spent:.3f}", share)
    table.add_row("all threads", f"{whole:.3f}", "", style="bold")
    return table
