"""What is worth knowing of a table before it is fitted.

In: the rows of both splits. Out: a ``DataCheck``, which is printed and stored in the run. No
errors: what cannot be fitted at all was refused before.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import numpy as np

from runtime.manifest import Record
from runtime.schema import fold_name
from trainer.table.duplicates import find_twins, hash_rows
from trainer.table.leaks import is_identifier, tells_label

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from runtime.schema import Schema
    from trainer.table.leaks import Values
    from trainer.table.reading import Labelled

_WHOLE_IN_FLOAT32 = 2.0**24  # whole numbers beyond are rounded


class ClassRows(Record, frozen=True):
    """How many rows of a class there are to learn from (``train``) and to judge by (``test``)."""

    name: str
    train: int
    test: int


class DataCheck(Record, frozen=True):
    """What a table holds, and what may be wrong with it.

    Attributes:
        train_rows: to learn from.
        test_rows: to judge by.
        features: columns that are used.
        classes: rows of each class.
        empty: columns left out, because no cell of them is filled.
        constant: columns with one value in all rows to learn from.
        same: columns that are equal to one another in every row, group by group.
        repeated_rows: rows to learn from whose features another row before them has, too.
        contradicting_rows: of these, those whose label is another one.
        shared_rows: rows to judge by whose features are among those to learn from.
        identifiers: columns with another whole number in every row, close to one another or in
            order.
        telling: columns that alone tell the label.
        rounded: columns of whole numbers so large that float32 rounds them.
        alike: classes whose names differ in case and surrounding blanks alone.
    """

    train_rows: int
    test_rows: int
    features: int
    classes: tuple[ClassRows, ...]
    empty: tuple[str, ...] = ()
    constant: tuple[str, ...] = ()
    same: tuple[tuple[str, ...], ...] = ()
    repeated_rows: int = 0
    contradicting_rows: int = 0
    shared_rows: int = 0
    identifiers: tuple[str, ...] = ()
    telling: tuple[str, ...] = ()
    rounded: tuple[str, ...] = ()
    alike: tuple[tuple[str, ...], ...] = ()


def check_data(
    schema: Schema, train: Labelled, test: Labelled, *, empty: Sequence[str]
) -> DataCheck:
    """Look at the rows of both splits.

    Args:
        schema: of the rows.
        train: to learn from.
        test: to judge by.
        empty: columns that were left out.

    Returns:
        What there is to know.
    """
    columns = {
        feature.name: np.ascontiguousarray(values)
        for feature, values in zip(schema.features, train.features.T, strict=True)
    }
    hashes = hash_rows(train.features)
    first, repeated = find_twins(hashes)
    return DataCheck(
        train_rows=len(train.labels),
        test_rows=len(test.labels),
        features=schema.n_features,
        classes=_count_classes(schema, train, test),
        empty=tuple(empty),
        constant=_names_where(columns, _is_constant),
        same=_find_same(columns),
        repeated_rows=int(repeated.sum()),
        contradicting_rows=int((train.labels != train.labels[first]).sum()),
        shared_rows=int(np.isin(hash_rows(test.features), hashes).sum()),
        identifiers=_names_where(columns, is_identifier),
        telling=_names_where(columns, lambda values: tells_label(values, train.labels)),
        rounded=_names_where(columns, _is_rounded),
        alike=_find_alike(schema.classes),
    )


def _names_where(columns: Mapping[str, Values], holds: Callable[[Values], bool]) -> tuple[str, ...]:
    return tuple(name for name, values in columns.items() if holds(values))


def _is_constant(values: Values) -> bool:
    return bool((values == values[0]).all())


def _is_rounded(values: Values) -> bool:
    large = np.abs(values) >= _WHOLE_IN_FLOAT32
    return bool(large.any() and (values == np.rint(values)).all())


def _count_classes(schema: Schema, train: Labelled, test: Labelled) -> tuple[ClassRows, ...]:
    counts = (
        np.bincount(part.labels, minlength=schema.n_classes).tolist() for part in (train, test)
    )
    return tuple(map(ClassRows, schema.classes, *counts))


def _find_same(columns: Mapping[str, Values]) -> tuple[tuple[str, ...], ...]:
    """Group columns that are equal, byte for byte but for the sign of zero."""
    groups: dict[bytes, list[str]] = {}
    for name, values in columns.items():
        key = hashlib.sha256((values + np.float32(0)).data).digest()
        groups.setdefault(key, []).append(name)
    return tuple(tuple(names) for names in groups.values() if len(names) > 1)


def _find_alike(names: Sequence[str]) -> tuple[tuple[str, ...], ...]:
    groups: dict[str, list[str]] = {}
    for name in names:
        groups.setdefault(fold_name(name), []).append(name)
    return tuple(tuple(group) for group in groups.values() if len(group) > 1)
