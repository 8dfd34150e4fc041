"""Encode the cells of features as the float32 inputs of a model.

A category is matched by its UTF-8 bytes. A cell that is empty or blank is missing; where the
training table had such cells, they are the category of the empty text. Dates are specified in
``runtime.tables.dates``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from runtime.schema.matrix import to_float32
from runtime.tables.arrays import binary_array, bool_array, number_scalar, number_values
from runtime.tables.base import Encoded
from runtime.tables.cells import MISSING, UNDECODABLE, explain_cell, find_missing
from runtime.tables.dates import NOT_A_DATE, days_since, read_instants

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt
    import pyarrow as pa

    from runtime.schema.features import Feature
    from runtime.tables.base import Column, Mask, Numbers
    from runtime.tables.dialect import Dialect

    Indices = npt.NDArray[np.int32]


UNSEEN: Final = "a category that training did not have"
_NOT_FOUND: Final = np.int32(-1)


class Encoder:
    """Encodes the columns of features as the inputs of a model; thread-safe."""

    def __init__(self, features: Sequence[Feature] = ()) -> None:
        """Prepare the categories.

        Args:
            features: of the schema, in its order; none for any number of plain numbers.
        """
        needs_encoding = any(
            feature.categories or feature.origin or feature.missing == "imputed"
            for feature in features
        )
        self._features = features if needs_encoding else ()
        self._categories = [
            binary_array([text.encode() for text in feature.categories])
            for feature in self._features
        ]

    @property
    def is_numeric(self) -> bool:
        """Whether all features are numbers that cannot be missing: inputs equal columns."""
        return not self._features

    def is_text(self, feature: int) -> bool:
        """Whether a feature is read as text: categories and dates.

        Args:
            feature: its index in the schema.

        Returns:
            Whether ``encode`` takes its column as text.
        """
        return bool(self._features and self._features[feature].categories) or self.is_date(feature)

    def is_date(self, feature: int) -> bool:
        """Whether a feature is a date.

        Args:
            feature: its index in the schema.

        Returns:
            Whether ``encode`` takes its column as Arrow's dates and timestamps, too.
        """
        return bool(self._features and self._features[feature].origin)

    def allows_missing(self, feature: int) -> bool:
        """Whether a feature is a number or date that may be missing.

        Args:
            feature: its index in the schema.

        Returns:
            Whether its input may be NaN.
        """
        return bool(self._features and self._features[feature].missing == "imputed")

    def with_missing(self, feature: int, numbers: Numbers, cells: pa.Array) -> Column:
        """Add the mask of missing cells to numbers where the feature allows them.

        Args:
            feature: its index in the schema.
            numbers: ``(rows,)`` float64, NaN for cells that are not numbers.
            cells: the cells, ``(rows,)`` binary.

        Returns:
            A column for ``encode``.
        """
        return (numbers, find_missing(cells)) if self.allows_missing(feature) else numbers

    def encode(self, columns: Sequence[Column]) -> Encoded:
        """Encode rows.

        Args:
            columns: one per feature, ``(rows,)``: float64, NaN for cells that are not numbers;
                where ``allows_missing``, a pair of these and a bool mask of missing cells; where
                ``is_text``, binary with null for an absent cell; where ``is_date``, also Arrow's
                dates or timestamps.

        Returns:
            ``matrix``: ``(rows, n_inputs)`` float32, undefined for cells that are not usable;
            ``usable``: ``(rows, n_features)`` bool.
        """
        if self.is_numeric:
            matrix = to_float32(columns)
            return Encoded(matrix, np.isfinite(matrix))
        parts = [self._encode(index, column) for index, column in enumerate(columns)]
        matrix = np.concatenate([part.matrix for part in parts], axis=1)
        return Encoded(matrix, np.stack([part.usable for part in parts], axis=1))

    def explain(self, feature: int, cell: bytes | None, dialect: Dialect) -> str:
        """Explain why a cell is not usable.

        Args:
            feature: its index in the schema.
            cell: content; None for an absent cell.
            dialect: encoding and decimal sign of numbers.

        Returns:
            The reason.
        """
        if cell is None or not cell.strip(b" \t"):
            return MISSING
        if not self.is_text(feature):
            return explain_cell(cell, dialect)
        if not _is_decodable(cell):
            return UNDECODABLE
        return NOT_A_DATE if self.is_date(feature) else UNSEEN

    def _encode(self, index: int, column: Column) -> Encoded:
        """Encode one feature: ``(rows, its inputs)``; ``usable`` is ``(rows,)``."""
        feature = self._features[index]
        if feature.categories:
            return self._encode_categories(index, column)
        if feature.origin:
            days = days_since(read_instants(column), feature.origin)
            column = self.with_missing(index, days, column)
        numbers, missing = column if self.allows_missing(index) else (column, None)
        matrix = to_float32([numbers])
        usable = np.isfinite(matrix[:, 0])
        if missing is None:
            return Encoded(matrix, usable)
        matrix[missing] = np.nan
        return Encoded(matrix, usable | missing)

    def _encode_categories(self, index: int, cells: pa.Array) -> Encoded:
        """One-hot encode a feature: ``(rows, categories)``; ``usable`` is ``(rows,)``."""
        feature = self._features[index]
        indices, missing = _index_categories(cells, self._categories[index])
        if "" in feature.categories:
            indices[missing] = feature.categories.index("")
        matrix = np.zeros((len(indices), len(feature.categories)), dtype=np.float32)
        found = indices != _NOT_FOUND
        matrix[np.flatnonzero(found), indices[found]] = 1
        if feature.one_hot and feature.one_hot.unseen == "other":
            others = ~found & ~missing
            if others.any():
                found[others] = _find_decodable(cells, others)
        return Encoded(matrix, found)


PLAIN: Final = Encoder()


def _find_decodable(cells: pa.Array, chosen: Mask) -> Mask:
    """Mark which of the chosen cells are UTF-8, ``(chosen cells,)``."""
    import pyarrow as pa

    texts = cells.filter(bool_array(chosen))
    try:
        texts.cast(pa.string())
    except pa.ArrowInvalid:
        return np.array([_is_decodable(text) for text in texts.to_pylist()], dtype=np.bool_)
    return np.ones(len(texts), dtype=np.bool_)


def _is_decodable(cell: bytes) -> bool:
    try:
        cell.decode()
    except UnicodeDecodeError:
        return False
    return True


def _index_categories(cells: pa.Array, categories: pa.Array) -> tuple[Indices, Mask]:
    """Look up cells: ``(rows,)`` int32 indices, and a mask of the missing among the not found."""
    import pyarrow.compute as pc

    found = pc.fill_null(pc.index_in(cells, categories), number_scalar(_NOT_FOUND))
    indices: Indices = number_values(found).copy()
    missing = indices == _NOT_FOUND
    if missing.any():
        missing[missing] = find_missing(cells.filter(bool_array(missing)))
    return indices, missing
