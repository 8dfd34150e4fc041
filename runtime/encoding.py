"""Encode the cells of features as the float32 inputs of a model.

A category is matched by its UTF-8 bytes. A cell that is empty or blank is missing, and so is one of
the feature's texts for missing; where the training table had such cells, they are the category of
the empty text. Dates are specified in
``runtime.tables.dates``.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

import numpy as np

from runtime.schema.matrix import mark_missing, to_float32
from runtime.tables.arrays import binary_array, bool_array, number_scalar, number_values
from runtime.tables.base import Encoded
from runtime.tables.cells import (
    MISSING,
    UNDECODABLE,
    explain_cell,
    find_missing,
    is_decodable,
    missing_pattern,
)
from runtime.tables.dates import NOT_A_DATE, days_since, mark_dates, read_instants

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt
    import pyarrow as pa

    from runtime.schema.features import Feature
    from runtime.schema.spellings import Spellings
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
            feature.categories
            or feature.origin
            or feature.missing == "imputed"
            or feature.texts_of_missing
            for feature in features
        )
        self._features = features if needs_encoding else ()
        self._categories = [
            binary_array([text.encode() for text in feature.categories])
            for feature in self._features
        ]
        self._spellings = [_spellings(feature) for feature in self._features]
        texts = [frozenset(feature.texts_of_missing) for feature in self._features]
        self._null_texts = tuple(sorted(frozenset.intersection(*texts))) if texts else ()

    @property
    def null_texts(self) -> tuple[str, ...]:
        """Texts that mean a missing cell in every feature, beside the empty one."""
        return self._null_texts

    @property
    def is_numeric(self) -> bool:
        """Whether all features are numbers that cannot be missing: inputs equal columns."""
        return not self._features

    def select(self, features: Sequence[int]) -> Encoder:
        """Select features.

        Args:
            features: their indices in the schema.

        Returns:
            The encoder of these alone.
        """
        return self if self.is_numeric else Encoder([self._features[at] for at in features])

    def width(self, feature: int) -> int:
        """Count the inputs of a feature.

        Args:
            feature: its index in the schema.

        Returns:
            The width of its part of the matrix.
        """
        return 1 if self.is_numeric else len(self._features[feature].inputs)

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
        if not self.allows_missing(feature):
            return numbers
        return numbers, find_missing(cells, self._features[feature].texts_of_missing)

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
        if cell is None or not cell.strip(b" \t") or self._means_missing(feature, cell, dialect):
            return MISSING
        if not self.is_text(feature):
            return explain_cell(cell, dialect)
        try:
            dialect.encoding.decode(cell)
        except UnicodeDecodeError:
            return UNDECODABLE
        if not self.is_date(feature):
            return self._explain_unseen(feature, dialect.encoding.decode(cell, "replace"))
        date_format = self._features[feature].date_format
        return f"not a date in the format {date_format}" if date_format else NOT_A_DATE

    def _explain_unseen(self, feature: int, text: str) -> str:
        spellings = self._spellings[feature]
        index = spellings.find(text.encode(errors="replace")) if spellings else None
        if index is None:
            return UNSEEN
        return f"{UNSEEN} (it had {self._features[feature].categories[index]!r})"

    def _means_missing(self, feature: int, cell: bytes, dialect: Dialect) -> bool:
        texts = self._features[feature].texts_of_missing if self._features else ()
        if not texts:
            return False
        text = dialect.encoding.decode(cell, "replace").strip(" \t")
        if self.is_date(feature):
            instants = read_instants(binary_array([text.encode()]))
            if mark_dates(instants, texts, self._features[feature].date_format).any():
                return True
        return bool(re.fullmatch(missing_pattern(tuple(texts)), text))

    def means_missing(self, feature: int, number: float) -> bool:
        """Whether a number means a missing cell.

        Args:
            feature: index of a feature of numbers in the schema.
            number: the number of a typed column.

        Returns:
            Whether it is one of the feature's texts for missing.
        """
        numbers = self._features[feature].missing_numbers if self._features else ()
        return bool(numbers) and bool(np.isin(np.float32(number), np.array(numbers, np.float32)))

    def _encode(self, index: int, column: Column) -> Encoded:
        """Encode one feature: ``(rows, its inputs)``; ``usable`` is ``(rows,)``."""
        feature = self._features[index]
        if feature.categories:
            return self._encode_categories(index, column)
        if feature.origin:
            column = self._encode_dates(index, column)
        numbers, missing = column if self.allows_missing(index) else (column, None)
        matrix = to_float32([numbers])
        if feature.missing_numbers:
            marked = mark_missing(matrix, {0: feature.missing_numbers})
            if missing is not None:
                missing = missing | (np.isnan(marked) & ~np.isnan(matrix))[:, 0]
            matrix = marked
        usable = np.isfinite(matrix[:, 0])
        if missing is None:
            return Encoded(matrix, usable)
        matrix[missing] = np.nan
        return Encoded(matrix, usable | missing)

    def _encode_dates(self, index: int, cells: pa.Array) -> Column:
        """Convert cells to days; typed dates that are a text for missing are missing, too."""
        feature = self._features[index]
        instants = read_instants(cells, feature.date_format)
        gaps = mark_dates(instants, feature.texts_of_missing, feature.date_format)
        days = np.where(gaps, np.nan, days_since(instants, feature.origin))
        column = self.with_missing(index, days, cells)
        return (column[0], column[1] | gaps) if isinstance(column, tuple) else column

    def _encode_categories(self, index: int, cells: pa.Array) -> Encoded:
        """One-hot encode a feature: ``(rows, categories)``; ``usable`` is ``(rows,)``."""
        feature = self._features[index]
        indices, missing = _index_categories(
            cells, self._categories[index], feature.texts_of_missing
        )
        if "" in feature.categories:
            indices[missing] = feature.categories.index("")
        bad = missing
        unknown = (indices == _NOT_FOUND) & ~missing
        if unknown.any():
            bad = missing | self._respell(index, cells, indices, unknown)
        matrix = np.zeros((len(indices), len(feature.categories)), dtype=np.float32)
        found = indices != _NOT_FOUND
        matrix[np.flatnonzero(found), indices[found]] = 1
        if feature.one_hot and feature.one_hot.unseen == "other":
            others = ~found & ~bad
            if others.any():
                found[others] = _find_decodable(cells, others)
        return Encoded(matrix, found)

    def _respell(self, index: int, cells: pa.Array, indices: Indices, unknown: Mask) -> Mask:
        """Look up cells that were not found in other spellings.

        Sets ``indices`` where these are equal; returns a mask of the cells where they are not.
        """
        respelt = np.zeros(len(indices), dtype=np.bool_)
        if (spellings := self._spellings[index]) is None:
            return respelt
        rest = cells.filter(bool_array(unknown)).dictionary_encode()
        found = [spellings.find(text) for text in rest.dictionary.to_pylist()]
        known = np.array([_NOT_FOUND if at is None else at for at in found], dtype=np.int32)
        codes = known[number_values(rest.indices)]
        if spellings.are_equal:
            indices[unknown] = codes
        else:
            respelt[unknown] = codes != _NOT_FOUND
        return respelt


PLAIN: Final = Encoder()


def _spellings(feature: Feature) -> Spellings | None:
    if not feature.categories:
        return None
    from runtime.schema.spellings import Spellings

    return Spellings(feature)


def _find_decodable(cells: pa.Array, chosen: Mask) -> Mask:
    """Mark which of the chosen cells are UTF-8, ``(chosen cells,)``."""
    import pyarrow as pa

    texts = cells.filter(bool_array(chosen))
    try:
        texts.cast(pa.string())
    except pa.ArrowInvalid:
        return np.array([is_decodable(text) for text in texts.to_pylist()], dtype=np.bool_)
    return np.ones(len(texts), dtype=np.bool_)


def _index_categories(
    cells: pa.Array, categories: pa.Array, missing_texts: Sequence[str]
) -> tuple[Indices, Mask]:
    """Look up cells: ``(rows,)`` int32 indices, and a mask of the missing among the not found."""
    import pyarrow.compute as pc

    found = pc.fill_null(pc.index_in(cells, categories), number_scalar(_NOT_FOUND))
    indices: Indices = number_values(found).copy()
    missing = indices == _NOT_FOUND
    if missing.any():
        missing[missing] = find_missing(cells.filter(bool_array(missing)), missing_texts)
    return indices, missing
