"""Format the first rows of a scored table."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, TextIO

from runtime.printable import printable
from runtime.terminal.tables import ELLIPSIS, cut, new_table, render_tables
from runtime.wrapping import terminal_width, wrap_lines

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.table import Table


PREVIEW_ROWS: Final = 10
_MAX_CELL_WIDTH = 24
_GAP = 2  # between two columns
_NUMBER = re.compile(r"\s*[-+]?[\d.]+(e[-+]?\d+)?\s*", re.ASCII | re.IGNORECASE)


def format_preview(
    names: Sequence[str],
    rows: Sequence[Sequence[str]],
    *,
    n_added: int,
    total: int | None,
    notes: Sequence[str] = (),
    stream: TextIO,
) -> str:
    """Format the first rows; ``notes`` are lines below them that are not cut, to be copied."""
    rows = rows[:PREVIEW_ROWS]
    width = terminal_width(stream)
    # The last column may be the reason of bad rows, a sentence.
    limits = [*[_MAX_CELL_WIDTH] * (len(names) - 1), max(_MAX_CELL_WIDTH, width // 2)]
    cells = [
        [cut(cell, limit) for cell in column]
        for limit, *column in zip(limits, names, *rows, strict=True)
    ]
    shown = _choose_columns(cells, n_added, width)
    hidden = [name for index, name in enumerate(names) if index not in shown]
    table = _build_table(cells, shown, first_added=len(names) - n_added)
    lines = [_describe_rows(len(rows), total), *_describe_hidden(hidden)]
    lines = [cut(line, width) for line in lines]
    below = [wrap_lines(printable(note), width) for note in notes]
    return "\n".join((render_tables(table, "", *lines, stream=stream), *below))


def _choose_columns(cells: Sequence[Sequence[str]], n_added: int, width: int) -> list[int]:
    """Choose columns that fit the width: added ones first, then from the left."""
    from rich.cells import cell_len

    first_added = len(cells) - n_added
    remaining = width - len(ELLIPSIS) - _GAP
    chosen: list[int] = []
    for index in (*range(first_added, len(cells)), *range(first_added)):
        needed = max(map(cell_len, cells[index])) + _GAP
        if needed > remaining + _GAP and chosen:
            break
        chosen.append(index)
        remaining -= needed
    return sorted(chosen)


def _build_table(
    cells: Sequence[Sequence[str]], shown: Sequence[int], *, first_added: int
) -> Table:
    """Build the table, with an ellipsis for hidden columns."""
    from rich.text import Text

    table = new_table()
    columns: list[Sequence[str]] = []
    for previous, index in zip((-1, *shown), shown, strict=False):
        if index > previous + 1:
            table.add_column(ELLIPSIS, no_wrap=True)
            columns.append([ELLIPSIS] * (len(cells[index]) - 1))
        header, *values = cells[index]
        filled = [value for value in values if value]
        table.add_column(
            Text(header),
            justify="right" if filled and all(map(_NUMBER.fullmatch, filled)) else "left",
            style="bold cyan" if index >= first_added else "",
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


def _describe_hidden(names: Sequence[str]) -> list[str]:
    if not names:
        return []
    columns = "1 more column" if len(names) == 1 else f"{len(names):,} more columns"
    return [f"{columns}: {', '.join(names)}"]
