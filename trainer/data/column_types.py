"""Detect the types of columns: number, date, text or empty; and the earliest date of each.

Arrow types decide where there are any. A text column is numeric, or of dates, when nearly all of
its filled cells parse as such: the others are bad cells, such as ``n/a`` among a thousand prices.
Dates are in ISO 8601 or in the format that the user gave. The first block with a filled cell
decides.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal

import numpy as np
import pyarrow as pa

from runtime.tables.arrays import bool_array
from runtime.tables.cells import find_missing, parse_numbers
from runtime.tables.dates import is_temporal, mark_dates, read_instants
from runtime.tables.text import cell_texts

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from runtime.choices import Decimal
    from runtime.tables.base import Block


ColumnType = Literal["number", "date", "text", "empty"]
TEXT: Final = "text"
DATE: Final = "date"
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


def type_of_cells(
    column: pa.Array,
    decimals: Sequence[Decimal] = (".",),
    date_formats: Sequence[str] = ("",),
    missing: Sequence[str] = (),
) -> tuple[ColumnType, str]:
    """Detect the type of some cells, and the format of dates.

    ``decimals`` are decimal separators to accept, ``date_formats`` formats of dates, ``missing``
    texts of missing cells.
    """
    texts = cell_texts(column)
    filled = texts.filter(bool_array(~find_missing(texts, missing)))
    if not len(filled):
        return "empty", ""
    cells = pa.chunked_array([filled])
    numbers = [np.isfinite(parse_numbers(cells, decimal)) for decimal in decimals]
    if np.logical_or.reduce(numbers).mean() >= _NEARLY_ALL:
        return "number", ""
    for date_format in date_formats:
        if read_instants(filled, date_format).known.mean() >= _NEARLY_ALL:
            return DATE, date_format
    return TEXT, ""


class ColumnTypeDetector:
    """Detects column types block by block, until each column has a filled cell.

    Attributes:
        column_types: column types by position in the table.
        date_formats: formats of columns of dates, by position; absent for ISO 8601.
        initially_empty: columns that were empty in the first block.
    """

    def __init__(
        self,
        decimals: Sequence[Decimal],
        known: Mapping[int, ColumnType],
        unknown: Sequence[int],
        *,
        date_format: str = "",
        missing: Sequence[str] = (),
    ) -> None:
        """Start with the ``known`` types by position; the ``unknown`` are to be detected.

        ``date_format`` is one of dates, beside ISO 8601; ``missing`` are texts of missing cells.
        """
        self._missing = missing
        self._decimals = decimals
        self._date_formats = (date_format, "") if date_format else ("",)
        self.date_formats: dict[int, str] = {}
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
            found, date_format = self._type_of(column.slice(0, _SAMPLE))
            if found == "empty":  # perhaps not to its end
                found, date_format = self._type_of(column)
            self.column_types[at] = found
            if date_format:
                self.date_formats[at] = date_format

    def _type_of(self, column: pa.Array) -> tuple[ColumnType, str]:
        return type_of_cells(column, self._decimals, self._date_formats, self._missing)


def find_earliest_days(
    columns: Mapping[int, pa.Array], date_formats: Mapping[int, str], missing: Sequence[str] = ()
) -> dict[int, int]:
    """Find the earliest day of each column with dates, since 1970-01-01; safe in any thread.

    ``missing`` are texts of missing cells.
    """
    found: dict[int, int] = {}
    for at, column in columns.items():
        cells = column if is_temporal(column.type) else cell_texts(column)
        date_format = date_formats.get(at, "")
        instants = read_instants(cells, date_format)
        known = instants.known & ~mark_dates(instants, missing, date_format)
        if known.any():
            found[at] = int(instants.days[known].min())
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
