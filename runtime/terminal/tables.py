"""Tables for a terminal, drawn by rich."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final, Protocol, TextIO

from runtime.printable import printable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import RenderableType
    from rich.table import Table

    from runtime.monitoring.accuracy import ClassScore


ELLIPSIS: Final = "…"
_DEFAULT_WIDTH = 80


def render(*parts: RenderableType, stream: TextIO) -> str:
    """Draw tables and lines as they fit a stream."""
    from rich.console import Console

    colour = _is_colourful(stream)
    console = Console(
        file=stream,
        width=terminal_width(stream),
        force_terminal=colour,
        color_system="standard" if colour else None,
        legacy_windows=False,
        markup=False,
        emoji=False,
        highlight=False,
    )
    with console.capture() as drawn:
        for part in parts:
            console.print(part)
    text = drawn.get()
    return text.rstrip("\n") if colour else "\n".join(map(str.rstrip, text.splitlines()))


def terminal_width(stream: TextIO) -> int:
    """Count the columns of a terminal; ``COLUMNS`` says it where it is set."""
    columns = os.environ.get("COLUMNS", "")
    if columns.isdecimal() and int(columns):
        return int(columns)
    try:
        return os.get_terminal_size(stream.fileno()).columns or _DEFAULT_WIDTH
    except (OSError, ValueError):  # no terminal, or no file at all
        return _DEFAULT_WIDTH


def new_table(*, header: bool = True) -> Table:
    """Make a table with a line below its header, columns two blanks apart."""
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
    """Shorten text to so many columns of a terminal, made printable."""
    from rich.cells import cell_len, set_cell_size

    shown = printable(text[: 4 * width])  # a long cell is not read to its end
    if len(text) <= 4 * width and cell_len(shown) <= width:
        return shown
    return set_cell_size(shown, width - 1).rstrip() + ELLIPSIS


def _is_colourful(stream: TextIO) -> bool:
    return stream.isatty() and "NO_COLOR" not in os.environ and os.environ.get("TERM") != "dumb"


_MISTAKES: Final = 10
_WIDEST_NAME: Final = 16  # columns of the terminal
_GAP: Final = 2
_CORNER: Final = "true \\ answer"


class ConfusionCounts(Protocol):
    """Counts of rows by true and answered class, and what follows from them."""

    @property
    def classes(self) -> tuple[ClassScore, ...]:
        """Precision, recall and F1 of each class."""

    @property
    def confusion(self) -> tuple[tuple[int, ...], ...]:
        """Rows by true class (outer) and answered class (inner)."""


def draw_confusion(truth: ConfusionCounts, width: int) -> Table:
    """Draw true classes as lines and answered ones as columns."""
    from rich.cells import cell_len

    names = [cut(score.name, _WIDEST_NAME) for score in truth.classes]
    header = [_CORNER, *names, "recall", "precision"]
    lines = [
        [name, *(f"{count:,}" for count in counts), percent(score.recall), percent(score.precision)]
        for name, counts, score in zip(names, truth.confusion, truth.classes, strict=True)
    ]
    needed = sum(max(map(cell_len, cells)) + _GAP for cells in zip(header, *lines, strict=True))
    return _draw_matrix(header, lines) if needed - _GAP <= width else _draw_mistakes(truth, names)


def percent(share: float | None) -> str:
    """Write a share as a percentage with one digit after the point, rounded away from 100 %."""
    if share is None:
        return "-"
    text = f"{100 * share:.1f} %"
    return "99.9 %" if text == "100.0 %" and share < 1 else text


def _draw_matrix(header: Sequence[str], lines: Sequence[Sequence[str]]) -> Table:
    from rich.text import Text

    table = new_table()
    for place, name in enumerate(header):
        table.add_column(Text(name), justify="right" if place else "left", no_wrap=True)
    for at, (name, *cells) in enumerate(lines, start=1):
        styles = [_style(cell, right=place == at) for place, cell in enumerate(cells, start=1)]
        styles[-2:] = ["", ""]  # recall and precision
        table.add_row(Text(name), *map(Text, cells, styles))
    return table


def _style(count: str, *, right: bool) -> str:
    if count == "0":
        return "dim"
    return "bold green" if right else "red"


def _draw_mistakes(truth: ConfusionCounts, names: Sequence[str]) -> Table:
    from rich.text import Text

    mistakes = [
        (count, name, answer)
        for at, (name, counts) in enumerate(zip(names, truth.confusion, strict=True))
        for place, (answer, count) in enumerate(zip(names, counts, strict=True))
        if count and place != at
    ]
    table = new_table()
    for title in ("true", "answer"):
        table.add_column(title, no_wrap=True)
    table.add_column("rows", justify="right", no_wrap=True)
    for count, name, answer in sorted(mistakes, key=lambda each: -each[0])[:_MISTAKES]:
        table.add_row(Text(name), Text(answer), Text(f"{count:,}", "red"))
    if len(mistakes) > _MISTAKES:
        table.add_row("", f"{len(mistakes) - _MISTAKES:,} more pairs", "", style="dim")
    return table
