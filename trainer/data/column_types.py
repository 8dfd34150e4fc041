"""Detect the types of columns: number, date, text or empty; and the earliest date of each.

Arrow types decide where there are any. A text column is numeric, or of dates, when nearly all of
its filled cells parse as such: the others are bad cells, such as ``n/a`` among a thousand prices.
The first block with a filled cell decides.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from runtime.tables.arrays import bool_scalar
from runtime.tables.cells import parse_numbers
from runtime.tables.dates import is_temporal, read_instants
from runtime.tables.text import cell_texts

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from runtime.choices import Decimal
    from runtime.tables.base import Block


ColumnType = Literal["number", "date", "text", "empty"]
TEXT: Final = "text"
DATE: Final = "date"
_FILLED = rb"[^ \t]"
_NEARLY_ALL = 0.9
_SAMPLE = 10_000  # cells of a block


def type_of_arrow(kind: pa.DataType) -> ColumnType | None:
    """Map an Arrow type; None where the cells decide."""
    types = pa.types
    if types.is_integer(kind) or types.is_floating(kind) or types.is_decimal(kind):
        return "number"
    if is_temporal(kind):
        return DATE
    return "empty" if types.is_null(kind) else None


def type_of_cells(column: pa.Array, decimals: Sequence[Decimal] = (".",)) -> ColumnType:
    """Detect the type of some cells; ``decimals`` are decimal separators to accept."""
    texts = cell_texts(column)
    is_filled = pc.fill_null(pc.match_substring_regex(texts, _FILLED), bool_scalar(False))
    filled = texts.filter(is_filled)
    if not len(filled):
        return "empty"
    cells = pa.chunked_array([filled])
    numbers = [np.isfinite(parse_numbers(cells, decimal)) for decimal in decimals]
    if np.logical_or.reduce(numbers).mean() >= _NEARLY_ALL:
        return "number"
    return DATE if read_instants(filled).known.mean() >= _NEARLY_ALL else TEXT


class ColumnTypeDetector:
    """Detects column types block by block, until each column has a filled cell.

    Attributes:
        column_types: column types by position in the table.
        initially_empty: columns that were empty in the first block.
    """

    def __init__(
        self, decimals: Sequence[Decimal], known: Mapping[int, ColumnType], unknown: Sequence[int]
    ) -> None:
        """Start with the ``known`` types by position; the ``unknown`` are to be detected."""
        self._decimals = decimals
        self.column_types: dict[int, ColumnType] = {**known, **dict.fromkeys(unknown, "empty")}
        self._unknown = list(unknown)
        self.initially_empty: set[int] = set()

    def inspect(self, blocks: Iterable[Block]) -> Iterator[Block]:
        """Pass blocks through while types are unknown; a column without a filled cell is empty."""
        for number, block in enumerate(blocks):
            if self._unknown:
                self._detect(block)
                self._unknown = [at for at in self._unknown if self.column_types[at] == "empty"]
            if number == 0:
                self.initially_empty = set(self._unknown)
            yield block

    def _detect(self, block: Block) -> None:
        cells = block.select(self._unknown).columns
        for at, column in zip(self._unknown, cells, strict=True):
            self.column_types[at] = type_of_cells(column.slice(0, _SAMPLE), self._decimals)
            if self.column_types[at] == "empty":  # perhaps not to its end
                self.column_types[at] = type_of_cells(column, self._decimals)


def find_earliest_days(columns: Mapping[int, pa.Array]) -> dict[int, int]:
    """Find the earliest day of each column with dates, since 1970-01-01; safe in any thread."""
    found: dict[int, int] = {}
    for at, column in columns.items():
        instants = read_instants(column if is_temporal(column.type) else cell_texts(column))
        if instants.known.any():
            found[at] = int(instants.days[instants.known].min())
    return found


class EarliestDays:
    """The earliest days so far; for one thread, blocks in any order.

    Attributes:
        days: by column.
    """

    def __init__(self) -> None:
        self.days: dict[int, int] = {}

    def add(self, days: Mapping[int, int]) -> None:
        """Add the earliest days of a block."""
        for at, day in days.items():
            self.days[at] = min(day, self.days.get(at, day))
