"""A dataset: training and test rows as tensors, with their schema and digest."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from runtime.schema.distribution import describe_values
from runtime.schema.features import Feature, Schema
from runtime.value import Record

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np
    import numpy.typing as npt
    import torch

    from runtime.bundle.manifest import Scalar


class ClassRows(Record, frozen=True):
    """The training and test rows of a class."""

    name: str
    train: int
    test: int


class Missing(Record, frozen=True):
    """A column and its number of missing ``cells``."""

    name: str
    cells: int


class Dates(Record, frozen=True):
    """A date column: the origin of its days, and the resolution of its times in float32."""

    name: str
    origin: str
    seconds: float


class DataCheck(Record, frozen=True):
    """What a table contains, and its likely problems.

    Attributes:
        train_rows: training rows.
        test_rows: test rows.
        features: columns that are used.
        classes: rows of each class.
        empty: columns excluded because all their cells are missing.
        missing: columns with missing cells.
        dates: columns of dates.
        constant: columns with one value in all training rows.
        same: groups of columns that are equal in every row.
        repeated_rows: training rows that duplicate the features of an earlier row.
        contradicting_rows: of these, those with a conflicting label.
        shared_rows: test rows whose features also are in a training row.
        identifiers: columns that look like identifiers: unique texts, or unique whole numbers
            that are dense or in order.
        telling: columns that alone determine the label.
        rounded: columns of whole numbers so large that float32 rounds them.
        alike: classes whose names differ only in case or surrounding blanks.
    """

    train_rows: int
    test_rows: int
    features: int
    classes: tuple[ClassRows, ...]
    empty: tuple[str, ...] = ()
    missing: tuple[Missing, ...] = ()
    dates: tuple[Dates, ...] = ()
    constant: tuple[str, ...] = ()
    same: tuple[tuple[str, ...], ...] = ()
    repeated_rows: int = 0
    contradicting_rows: int = 0
    shared_rows: int = 0
    identifiers: tuple[str, ...] = ()
    telling: tuple[str, ...] = ()
    rounded: tuple[str, ...] = ()
    alike: tuple[tuple[str, ...], ...] = ()


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
        """The four tensors in a fixed order."""
        return dict(vars(self))

    def first(self, limit: int) -> Rows:
        """Copy the first rows of each split."""
        return Rows(**{name: part[:limit].clone() for name, part in self.by_name().items()})


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
