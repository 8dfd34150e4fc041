"""The one place where a row's cells become the numbers that a model reads.

A category is compared byte for byte, in UTF-8, with the texts of training. A cell of nothing but
blanks is a missing one; where training had such cells, they are the category of the empty text.
What a date is and which number it becomes is in ``runtime.tables.dates``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

from runtime.schema.matrix import to_float32
from runtime.tables.arrays import binary_array, bool_array, number_scalar, number_values
from runtime.tables.base import Encoded
from runtime.tables.cells import MISSING, UNDECODABLE, find_missing, why_bad
from runtime.tables.dates import NOT_A_DATE, days_since, read_instants

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt
    import pyarrow as pa

    from runtime.schema.features import Feature
    from runtime.tables.dialect import Dialect

    Mask = npt.NDArray[np.bool_]
    Numbers = npt.NDArray[np.float64]
    # Numbers, numbers with a mask, or texts: pyarrow publishes no types.
    Column = Any
    Places = npt.NDArray[np.int32]


UNSEEN: Final = "a category that training did not have"
_NOWHERE: Final = np.int32(-1)


class Encoder:
    """Makes the inputs of a model out of the columns of its features; safe in any thread."""

    def __init__(self, features: Sequence[Feature] = ()) -> None:
        """Prepare to encode.

        Args:
            features: of the schema, in its order; none means numbers alone, however many.
        """
        is_special = any(
            each.categories or each.origin or each.missing == "imputed" for each in features
        )
        self._features = features if is_special else ()
        self._texts = [
            binary_array([text.encode() for text in feature.categories])
            for feature in self._features
        ]

    @property
    def is_plain(self) -> bool:
        """Whether all features are numbers without gaps: the matrix then holds the columns."""
        return not self._features

    def reads_text(self, at: int) -> bool:
        """Whether the cells of a feature, by its position, are texts: categories or dates."""
        return bool(self._features and self._features[at].categories) or self.reads_dates(at)

    def reads_dates(self, at: int) -> bool:
        """Whether a feature, by its position, is one of dates."""
        return bool(self._features and self._features[at].origin)

    def takes_missing(self, at: int) -> bool:
        """Whether a feature, by its position, is one of numbers or dates that may be missing."""
        return bool(self._features and self._features[at].missing == "imputed")

    def pair(self, at: int, numbers: Numbers, cells: pa.Array) -> Column:
        """Put numbers and the gaps among them together, as ``encode`` takes them.

        Args:
            at: position of their feature.
            numbers: ``(rows,)`` float64, NaN where there is no number.
            cells: what they were read of, ``(rows,)`` binary.

        Returns:
            The column.
        """
        return (numbers, find_missing(cells)) if self.takes_missing(at) else numbers

    def encode(self, columns: Sequence[Column]) -> Encoded:
        """Encode rows.

        Args:
            columns: one a feature, ``(rows,)``: float64, NaN where there is no number; where
                ``takes_missing`` a pair of them and bool, true where the cell is missing; where
                ``reads_text`` binary, null where there is no cell; where ``reads_dates`` it may be
                of Arrow's dates or timestamps.

        Returns:
            The matrix; cells that are not usable hold arbitrary values.
        """
        if self.is_plain:
            matrix = to_float32(columns)
            return Encoded(matrix, np.isfinite(matrix))
        parts = [self._encode(at, column) for at, column in enumerate(columns)]
        matrix = np.concatenate([part.matrix for part in parts], axis=1)
        return Encoded(matrix, np.stack([part.usable for part in parts], axis=1))

    def why_bad(self, at: int, cell: bytes | None, dialect: Dialect) -> str:
        """Say why a cell is not usable.

        Args:
            at: position of its feature.
            cell: its content; None where there is none.
            dialect: encoding and decimal sign of a cell of numbers.

        Returns:
            The reason.
        """
        if cell is None or not cell.strip(b" \t"):
            return MISSING
        if not self.reads_text(at):
            return why_bad(cell, dialect)
        try:
            cell.decode()
        except UnicodeDecodeError:
            return UNDECODABLE
        return NOT_A_DATE if self.reads_dates(at) else UNSEEN

    def _encode(self, at: int, column: Column) -> Encoded:
        """The inputs of a feature, ``(rows, its inputs)``; usable cells are ``(rows,)``."""
        feature = self._features[at]
        if feature.categories:
            return self._encode_texts(at, column)
        if feature.origin:
            column = self.pair(at, days_since(read_instants(column), feature.origin), column)
        numbers, missing = column if self.takes_missing(at) else (column, None)
        matrix = to_float32([numbers])
        usable = np.isfinite(matrix[:, 0])
        if missing is None:
            return Encoded(matrix, usable)
        matrix[missing] = np.nan
        return Encoded(matrix, usable | missing)

    def _encode_texts(self, at: int, cells: pa.Array) -> Encoded:
        """One column a category, ``(rows, categories)``; usable cells are ``(rows,)``."""
        feature = self._features[at]
        places, missing = _find_places(cells, self._texts[at])
        if "" in feature.categories:
            places[missing] = feature.categories.index("")
        matrix = np.zeros((len(places), len(feature.categories)), dtype=np.float32)
        found = places != _NOWHERE
        matrix[np.flatnonzero(found), places[found]] = 1
        takes_all = feature.one_hot and feature.one_hot.unseen == "other"
        return Encoded(matrix, found | ~missing if takes_all else found)


PLAIN: Final = Encoder()


def _find_places(cells: pa.Array, texts: pa.Array) -> tuple[Places, Mask]:
    """Find cells among texts: ``(rows,)`` int32, and which of the others are missing, bool."""
    import pyarrow.compute as pc

    found = pc.fill_null(pc.index_in(cells, texts), number_scalar(_NOWHERE))
    places: Places = number_values(found).copy()
    missing = places == _NOWHERE
    if missing.any():
        missing[missing] = find_missing(cells.filter(bool_array(missing)))
    return places, missing
