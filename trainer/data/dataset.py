"""A dataset: training and test rows as tensors, with their schema and digest."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import msgspec

from runtime.schema.distribution import describe_values
from runtime.schema.features import Feature, Schema
from runtime.value import Record
from trainer.data.column_summary import ColumnSummary

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np
    import numpy.typing as npt
    import torch

    from runtime.bundle.manifest import Scalar
    from runtime.schema.features import Float32Matrix


class ClassCounts(Record, frozen=True):
    """The numbers of training and test rows of a class."""

    name: str
    train: int
    test: int


class MissingCells(Record, frozen=True):
    """A column and its number of missing ``cells``."""

    name: str
    cells: int


class DateColumn(Record, frozen=True):
    """A date column: the origin of its days, and the resolution of its times in float32."""

    name: str
    origin: str
    seconds: float


class EpochColumn(Record, frozen=True):
    """A column of whole numbers that look like times, and the format that reads them as such."""

    name: str
    format: str


class JoinedLabels(Record, frozen=True):
    """A class, its other spellings in the table, and the number of rows that have these."""

    name: str
    spellings: tuple[str, ...]
    rows: int


class RareCategories(Record, frozen=True):
    """A column whose rare categories are joined.

    Attributes:
        name: of the column.
        kept: its categories that have an input.
        joined: the others.
        cells: of these, in training and test rows; in a test set also those not seen in training.
    """

    name: str
    kept: int
    joined: int
    cells: int


class RejectedRows(Record, frozen=True):
    """The numbers of rows of the table, and of a test set, that were rejected for a reason."""

    reason: str
    rows: int
    test_rows: int = 0


class DataCheck(Record, frozen=True):
    """What a table contains, and its likely problems; the keys in JSON differ in part.

    Attributes:
        train_rows: training rows.
        test_rows: test rows.
        features: columns that are used.
        classes: rows of each class.
        empty: columns excluded because all their cells are missing.
        missing: columns with missing cells.
        dates: columns of dates.
        constant: columns with one value in all training rows, numbers as float32.
        identical: groups of columns that are equal in every row.
        duplicate_rows: training rows that duplicate the features of an earlier row.
        conflicting_rows: of these, those with another label.
        leaked_rows: test rows that duplicate the features of a training row.
        identifiers: columns that look like identifiers: unique texts, or unique whole numbers
            that are dense or in order.
        leaking: columns that alone determine the label.
        rounded: columns of numbers without fractions so large that float32 rounds them, up to the
            largest 64-bit integer.
        index: columns that have pandas' names for an index without one.
        similar_classes: classes whose names differ only in case, surrounding blanks, the Unicode
            form or the notation of a number.
        joined_labels: classes that the table has in several spellings; unset without any.
        epochs: columns of numbers that look like seconds or milliseconds since 1970; unset without
            any.
        rare: columns whose rare categories are joined; unset without any.
        columns: what each column but the label was taken for.
        rejected: bad rows that were left out, by reason; unset without ``bad_rows="reject"``.
    """

    train_rows: int
    test_rows: int
    features: int
    classes: tuple[ClassCounts, ...]
    empty: tuple[str, ...] = ()
    missing: tuple[MissingCells, ...] = ()
    dates: tuple[DateColumn, ...] = ()
    constant: tuple[str, ...] = ()
    identical: tuple[tuple[str, ...], ...] = msgspec.field(default=(), name="same")
    duplicate_rows: int = msgspec.field(default=0, name="repeated_rows")
    conflicting_rows: int = msgspec.field(default=0, name="contradicting_rows")
    leaked_rows: int = msgspec.field(default=0, name="shared_rows")
    identifiers: tuple[str, ...] = ()
    leaking: tuple[str, ...] = msgspec.field(default=(), name="telling")
    rounded: tuple[str, ...] = ()
    similar_classes: tuple[tuple[str, ...], ...] = msgspec.field(default=(), name="alike")
    index: tuple[str, ...] = ()
    columns: tuple[ColumnSummary, ...] = ()
    joined_labels: tuple[JoinedLabels, ...] | msgspec.UnsetType = msgspec.UNSET
    epochs: tuple[EpochColumn, ...] | msgspec.UnsetType = msgspec.UNSET
    rare: tuple[RareCategories, ...] | msgspec.UnsetType = msgspec.UNSET
    rejected: tuple[RejectedRows, ...] | msgspec.UnsetType = msgspec.UNSET


@dataclass(frozen=True)
class Rows:
    """Training and test rows, on the CPU.

    Attributes:
        train_features: ``(train_rows, n_features)`` float32, raw.
        train_labels: ``(train_rows,)`` int64, positions in the schema's classes.
        test_features: ``(test_rows, n_features)`` float32, raw.
        test_labels: ``(test_rows,)`` int64.
    """

    train_features: torch.Tensor
    train_labels: torch.Tensor
    test_features: torch.Tensor
    test_labels: torch.Tensor

    def by_name(self) -> dict[str, torch.Tensor]:
        """List the four tensors by name, in a fixed order."""
        return dict(vars(self))

    def first(self, limit: int) -> Rows:
        """Copy the first rows of each split."""
        return Rows(**{name: part[:limit].clone() for name, part in self.by_name().items()})


@dataclass(frozen=True)
class LabelledRows:
    """Rows with their classes.

    Attributes:
        features: ``(rows, n_inputs)`` float32, NaN for a missing number.
        labels: ``(rows,)`` int64, positions in the classes.
    """

    features: Float32Matrix
    labels: npt.NDArray[np.int64]

    def take(self, rows: npt.NDArray[np.bool_]) -> LabelledRows:
        """Select rows by a mask, ``(rows,)`` bool."""
        return self if rows.all() else LabelledRows(self.features[rows], self.labels[rows])


@dataclass(frozen=True)
class Dataset:
    """Training and test rows with their description.

    Attributes:
        schema: columns and classes, with ranges and deciles of the training rows.
        rows: training and test rows.
        check: data check of a user's table.
        options: used to make them, for the run's record.
        seconds: spent on reading.
    """

    schema: Schema
    rows: Rows
    check: DataCheck | None = None
    options: Mapping[str, Scalar] = field(default_factory=dict)
    seconds: float = 0.0

    @property
    def shape(self) -> tuple[int, int]:
        """Numbers of training rows and of the network's inputs, before bins."""
        rows, inputs = self.rows.train_features.shape
        return rows, inputs + len(self.schema.imputed_inputs)

    def digest(self) -> str:
        """Compute SHA-256 over the bytes of all tensors, in the order of ``Rows``."""
        sha256 = hashlib.sha256()
        for tensor in self.rows.by_name().values():
            sha256.update(tensor.contiguous().numpy().data)
        return sha256.hexdigest()


def describe_column(name: str, values: npt.NDArray[np.float32]) -> Feature:
    """Describe a numeric feature by the range, deciles and shares of its finite training values."""
    seen = describe_values(values)
    return Feature(
        name,
        minimum=seen.quantiles[0],
        maximum=seen.quantiles[-1],
        quantiles=seen.quantiles,
        shares=seen.shares,
    )
