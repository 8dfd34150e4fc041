"""Collect the different texts of columns while their blocks come in.

In: cells. Out: the texts; of labels also a number for each cell. No errors.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from runtime.tables.arrays import number_scalar, number_values
from runtime.tables.text import cell_texts

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

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
        numbers = [self._number(_filled(text)) for text in cells.dictionary.to_pylist()]
        places = number_values(pc.fill_null(cells.indices, number_scalar(np.int32(MISSING))))
        # The last one is for nulls, whose place is -1.
        by_place: Codes = np.array([*numbers, MISSING], dtype=np.int64)
        coded: Codes = by_place[places]
        return coded

    def _number(self, text: bytes) -> int:
        return self.texts.setdefault(text, len(self.texts)) if text else MISSING


class TextCollector:
    """The different texts of columns so far; for one thread, blocks in any order."""

    def __init__(self, most: int) -> None:
        """Start without texts; of each column ``most`` are wanted, and whether there are more."""
        self._most = most
        self._texts: dict[int, set[bytes]] = {}

    def add(self, cells: Mapping[int, pa.DictionaryArray]) -> None:
        """Take the cells of a block, by column, as ``group_cells`` gives them."""
        for at, column in cells.items():
            texts = self._texts.setdefault(at, set())
            if len(texts) <= self._most:
                texts.update(map(_filled, column.dictionary.to_pylist()))
                texts.update([b""] if column.indices.null_count else [])

    def found(self, *, late: Iterable[int]) -> dict[int, set[bytes]]:
        """Give the texts of each column.

        Args:
            late: columns that had missing cells alone before they were looked at.

        Returns:
            By column; an empty text stands for a missing cell.
        """
        for at in set(late) & self._texts.keys():
            self._texts[at].add(b"")
        return self._texts


def _filled(text: bytes | None) -> bytes:
    """Read nothing but blanks as a missing cell."""
    return text if text and text.strip(b" \t") else b""
