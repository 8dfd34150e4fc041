"""What the columns of a table hold: numbers, dates, texts, or nothing.

In: columns as a table gives them. Out: a kind. No errors.

Typed columns say it themselves. A column of text holds numbers when nearly all of its filled cells
are numbers by the rules of ``runtime.tables.cells``: the others then are bad cells, which is what
a person would say of ``n/a`` among a thousand prices. So it is with dates, by the rules of
``runtime.tables.dates``. It is told by the beginning of the first block in which the column has a
filled cell.
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

Kind = Literal["number", "date", "text", "empty"]
TEXT: Final = "text"
DATE: Final = "date"
_FILLED = rb"[^ \t]"
_NEARLY_ALL = 0.9
_LOOKED_AT = 10_000  # cells of a block


def kind_of_type(kind: pa.DataType) -> Kind | None:
    """Tell the kind of a typed column; None where its cells have to be looked at."""
    types = pa.types
    if types.is_integer(kind) or types.is_floating(kind) or types.is_decimal(kind):
        return "number"
    if is_temporal(kind):
        return DATE
    return "empty" if types.is_null(kind) else None


def kind_of_cells(column: pa.Array, decimals: Sequence[Decimal] = (".",)) -> Kind:
    """Tell the kind of some cells.

    Args:
        column: ``(rows,)`` of any type.
        decimals: signs that may stand before a fraction, in text.

    Returns:
        Their kind; ``empty`` where no cell is filled.
    """
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


class KindFinder:
    """Finds the kinds of columns that no type tells, block by block until a cell is filled.

    Attributes:
        kinds: by position in the table.
        late: columns of text that were empty in the first block.
    """

    def __init__(
        self, decimals: Sequence[Decimal], known: Mapping[int, Kind], unknown: Sequence[int]
    ) -> None:
        """Start with what is known.

        Args:
            decimals: signs that may stand before a fraction, in text.
            known: kinds by position.
            unknown: positions of the columns to look at.
        """
        self._decimals = decimals
        self.kinds: dict[int, Kind] = {**known, **dict.fromkeys(unknown, "empty")}
        self._unknown = list(unknown)
        self.late: set[int] = set()

    def watch(self, blocks: Iterable[Block]) -> Iterator[Block]:
        """Pass blocks on; a column without a filled cell in any of them is empty."""
        for number, block in enumerate(blocks):
            if self._unknown:
                self._look(block)
                self._unknown = [at for at in self._unknown if self.kinds[at] == "empty"]
            if number == 0:
                self.late = set(self._unknown)
            yield block

    def _look(self, block: Block) -> None:
        cells = block.select(self._unknown).columns
        for at, column in zip(self._unknown, cells, strict=True):
            self.kinds[at] = kind_of_cells(column.slice(0, _LOOKED_AT), self._decimals)
            if self.kinds[at] == "empty":  # perhaps not to its end
                self.kinds[at] = kind_of_cells(column, self._decimals)
