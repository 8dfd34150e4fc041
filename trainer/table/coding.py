"""Number the different texts of a column while its blocks come in.

In: cells. Out: a number for each, from 0 in order of appearance, and the texts. No errors.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from runtime.tables.arrow import number_scalar, number_values
from runtime.tables.text_cells import cell_texts

if TYPE_CHECKING:
    import numpy.typing as npt

    Codes = npt.NDArray[np.int64]

MISSING = -1


def group_cells(cells: pa.Array) -> pa.DictionaryArray:
    """Find the different texts of a block's cells, ``(rows,)`` of any type; safe in any thread."""
    return cell_texts(cells).dictionary_encode()


class Coder:
    """The different texts so far; for one thread, blocks in their order.

    Attributes:
        texts: in order of first appearance, as written.
    """

    def __init__(self) -> None:
        self.texts: dict[bytes, int] = {}

    def add(self, cells: pa.DictionaryArray) -> Codes:
        """Number the cells of a block.

        Args:
            cells: ``(rows,)``, as ``group_cells`` gives them.

        Returns:
            ``(rows,)`` int64; ``MISSING`` for null and for nothing but blanks.
        """
        numbers = [self._number(text) for text in cells.dictionary.to_pylist()]
        places = number_values(pc.fill_null(cells.indices, number_scalar(np.int32(MISSING))))
        # The last one is for nulls, whose place is -1.
        by_place: Codes = np.array([*numbers, MISSING], dtype=np.int64)
        coded: Codes = by_place[places]
        return coded

    def _number(self, text: bytes | None) -> int:
        if text is None or not text.strip(b" \t"):
            return MISSING
        return self.texts.setdefault(text, len(self.texts))
