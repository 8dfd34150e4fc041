"""Show the first rows of a scored table."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, TextIO

from runtime.printable import printable
from runtime.terminal.tables import ELLIPSIS, cut, new_table, render, terminal_width

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.table import Table


PREVIEW_ROWS: Final = 10
_WIDEST_CELL = 24  # columns of the terminal
_GAP = 2  # between two columns
_NUMBER = re.compile(r"\s*[-+]?[\d.]+(e[-+]?\d+)?\s*", re.ASCII | re.IGNORECASE)


def format_preview(
    names: Sequence[str],
    rows: Sequence[Sequence[str]],
    *,
    new: int,
    total: int | None,
    save: str,
    stream: TextIO,
) -> str:
    """Draw the first rows."""
    rows = rows[:PREVIEW_ROWS]
    cells = [
        [cut(cell, _WIDEST_CELL) for cell in column] for column in zip(names, *rows, strict=True)
    ]
    width = terminal_width(stream)
    shown = _choose(cells, new, width)
    left_out = [name for at, name in enumerate(names) if at not in shown]
    table = _draw(cells, shown, first_new=len(names) - new)
    lines = [_describe_rows(len(rows), total), *_describe_left_out(left_out)]
    lines = [cut(line, width) for line in lines]
    # The command is not wrapped: so it can be copied from any terminal.
    return render(table, "", *lines, stream=stream) + f"\nsave all: {printable(save)}"


def _choose(cells: Sequence[Sequence[str]], new: int, width: int) -> list[int]:
    """Choose columns that fit: the new ones first, then from the left."""
    from rich.cells import cell_len

    first_new = len(cells) - new
    room = width - len(ELLIPSIS) - _GAP
    chosen: list[int] = []
    for at in (*range(first_new, len(cells)), *range(first_new)):
        needed = max(map(cell_len, cells[at])) + _GAP
        if needed > room + _GAP and chosen:
            break
        chosen.append(at)
        room -= needed
    return sorted(chosen)


def _draw(cells: Sequence[Sequence[str]], shown: Sequence[int], *, first_new: int) -> Table:
    """Draw the columns; an ellipsis stands where some are left out."""
    from rich.text import Text

    table = new_table()
    columns: list[Sequence[str]] = []
    for place, at in enumerate(shown):
        if at > (shown[place - 1] + 1 if place else 0):
            table.add_column(ELLIPSIS, no_wrap=True)
            columns.append([ELLIPSIS] * (len(cells[at]) - 1))
        header, *values = cells[at]
        filled = [value for value in values if value]
        table.add_column(
            Text(header),
            justify="right" if filled and all(map(_NUMBER.fullmatch, filled)) else "left",
            style="bold cyan" if at >= first_new else "",
            no_wrap=True,
        )
        columns.append(values)
    if shown[-1] < len(cells) - 1:
        table.add_column(ELLIPSIS, no_wrap=True)
        columns.append([ELLIPSIS] * (len(cells[0]) - 1))
    for row in zip(*columns, strict=True):
        table.add_row(*map(Text, row))
    return table


def _describe_rows(shown: int, total: int | None) -> str:
    if total is None:
        return f"the first {shown} rows"
    if shown < total:
        return f"the first {shown} of {total:,} rows"
    return "the only row" if total == 1 else f"all {total:,} rows"


def _describe_left_out(names: Sequence[str]) -> list[str]:
    if not names:
        return []
    columns = "1 more column" if len(names) == 1 else f"{len(names):,} more columns"
    return [f"{columns}: {', '.join(names)}"]
