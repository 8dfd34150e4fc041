"""The earliest day of columns of dates, which they will count from.

In: cells, block by block. Out: days since 1970-01-01. No errors: a cell that is no date is a bad
one, and whoever reads the table says so.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from runtime.tables.dates import is_temporal, read_instants
from runtime.tables.text import cell_texts

if TYPE_CHECKING:
    from collections.abc import Mapping

    import pyarrow as pa


def find_first_days(columns: Mapping[int, pa.Array]) -> dict[int, int]:
    """Find the earliest day of a block's columns; safe in any thread.

    Args:
        columns: cells ``(rows,)`` of any type, by column.

    Returns:
        By column; those without a date are not in it.
    """
    found: dict[int, int] = {}
    for at, column in columns.items():
        instants = read_instants(column if is_temporal(column.type) else cell_texts(column))
        if instants.known.any():
            found[at] = int(instants.days[instants.known].min())
    return found


class FirstDays:
    """The earliest days so far; for one thread, blocks in any order.

    Attributes:
        days: by column.
    """

    def __init__(self) -> None:
        self.days: dict[int, int] = {}

    def add(self, days: Mapping[int, int]) -> None:
        """Take those of a block."""
        for at, day in days.items():
            self.days[at] = min(day, self.days.get(at, day))
