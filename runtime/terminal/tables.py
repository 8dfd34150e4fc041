"""Render tables for a terminal with rich."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final, Protocol, TextIO

from runtime.printable import printable
from runtime.wrapping import terminal_width

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import RenderableType
    from rich.table import Table

    from runtime.monitoring.accuracy import ClassScore


ELLIPSIS: Final = "…"
_MAX_ERRORS: Final = 10  # pairs of classes
_MAX_NAME_WIDTH: Final = 16
_GAP: Final = 2  # between two columns
_CORNER: Final = "true \\ predicted"


class ConfusionCounts(Protocol):
    """A confusion matrix with the scores of each class."""

    @property
    def classes(self) -> tuple[ClassScore, ...]:
        """Precision, recall and F1 of each class."""

    @property
    def confusion(self) -> tuple[tuple[int, ...], ...]:
        """Rows by true class (outer) and predicted class (inner)."""


def render_tables(*parts: RenderableType, stream: TextIO) -> str:
    """Render tables and lines for a stream."""
    from rich.console import Console

    use_color = _use_color(stream)
    console = Console(
        file=stream,
        width=terminal_width(stream),
        force_terminal=use_color,
        color_system="standard" if use_color else None,
        legacy_windows=False,
        markup=False,
        emoji=False,
        highlight=False,
    )
    with console.capture() as capture:
        for part in parts:
            console.print(part)
    text = capture.get()
    return text.rstrip("\n") if use_color else "\n".join(map(str.rstrip, text.splitlines()))


def new_table(*, header: bool = True) -> Table:
    """Create a table with a line below its header."""
    from rich import box
    from rich.table import Table

    return Table(
        box=box.SIMPLE_HEAD if header else None,
        show_header=header,
        show_edge=False,
        pad_edge=False,
        padding=(0, 1, 0, 0) if header else (0, 2, 0, 0),
        header_style="bold",
    )


def cut(text: str, width: int) -> str:
    """Truncate text to a width, between words if it has any; escape control characters."""
    from rich.cells import cell_len, set_cell_size

    shown = printable(text[: 4 * width])  # skip the rest of a long cell
    if len(text) <= 4 * width and cell_len(shown) <= width:
        return shown
    start = set_cell_size(shown, width - 1)
    words, blank, rest = start.rpartition(" ")
    is_within_word = blank and words.strip() and shown[len(start) : len(start) + 1].strip()
    return (words if is_within_word and len(rest) < len(start) / 2 else start).rstrip() + ELLIPSIS


def percent(share: float | None) -> str:
    """Format a proportion as a percentage with one decimal, 100 % only if exact."""
    if share is None:
        return "-"
    text = f"{100 * share:.1f} %"
    return "99.9 %" if text == "100.0 %" and share < 1 else text


def confusion_table(truth: ConfusionCounts, width: int) -> Table:
    """Build a table of the confusion matrix, or of the most frequent errors if it is too wide."""
    from rich.cells import cell_len

    names = [cut(score.name, _MAX_NAME_WIDTH) for score in truth.classes]
    header = [_CORNER, *names, "recall", "precision"]
    lines = [
        [name, *(f"{count:,}" for count in counts), percent(score.recall), percent(score.precision)]
        for name, counts, score in zip(names, truth.confusion, truth.classes, strict=True)
    ]
    needed = sum(max(map(cell_len, cells)) + _GAP for cells in zip(header, *lines, strict=True))
    return _matrix_table(header, lines) if needed - _GAP <= width else _errors_table(truth, names)


def _use_color(stream: TextIO) -> bool:
    return stream.isatty() and "NO_COLOR" not in os.environ and os.environ.get("TERM") != "dumb"


def _matrix_table(header: Sequence[str], lines: Sequence[Sequence[str]]) -> Table:
    from rich.text import Text

    table = new_table()
    for column, name in enumerate(header):
        table.add_column(Text(name), justify="right" if column else "left", no_wrap=True)
    for row, (name, *cells) in enumerate(lines):
        styles = [_style(cell, correct=column == row) for column, cell in enumerate(cells)]
        styles[-2:] = ["", ""]  # recall and precision
        table.add_row(Text(name), *map(Text, cells, styles))
    return table


def _style(count: str, *, correct: bool) -> str:
    if count == "0":
        return "dim"
    return "bold green" if correct else "red"


def _errors_table(truth: ConfusionCounts, names: Sequence[str]) -> Table:
    from rich.text import Text

    errors = [
        (count, name, predicted)
        for row, (name, counts) in enumerate(zip(names, truth.confusion, strict=True))
        for column, (predicted, count) in enumerate(zip(names, counts, strict=True))
        if count and column != row
    ]
    table = new_table()
    for title in ("true", "predicted"):
        table.add_column(title, no_wrap=True)
    table.add_column("rows", justify="right", no_wrap=True)
    for count, name, predicted in sorted(errors, key=lambda error: -error[0])[:_MAX_ERRORS]:
        table.add_row(Text(name), Text(predicted), Text(f"{count:,}", "red"))
    if len(errors) > _MAX_ERRORS:
        table.add_row("", f"{len(errors) - _MAX_ERRORS:,} more pairs", "", style="dim")
    return table
