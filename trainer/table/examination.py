"""Find what is worth knowing of a table before it is fitted.

In: the rows of both splits. Out: a ``DataCheck``. No errors: what cannot be fitted at all was
refused before.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import numpy as np

from runtime.schema.features import fold_name
from trainer.table.check import ClassRows, DataCheck, Dates, Missing
from trainer.table.duplicates import Twins, hash_rows
from trainer.table.features import single_columns
from trainer.table.leaks import is_identifier, tells_label

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from runtime.schema.features import Feature, Float32Matrix, Schema
    from trainer.table.leaks import Values
    from trainer.table.reading import Labelled

_WHOLE_IN_FLOAT32 = 2.0**24  # whole numbers beyond are rounded
_SECONDS_OF_A_DAY = 86_400


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
    columns = single_columns(schema, train.features)
    numbers = {feature.name: columns[feature.name] for feature in schema.numeric_features.values()}
    twins = Twins(hash_rows(train.features))
    return DataCheck(
        train_rows=len(train.labels),
        test_rows=len(test.labels),
        features=schema.n_features,
        classes=_count_classes(schema, train, test),
        empty=tuple(empty),
        missing=_count_missing(schema, train, test),
        dates=_describe_dates(schema, columns),
        constant=_names_where(columns, _is_constant),
        same=_find_same(columns),
        repeated_rows=int((twins.first != np.arange(len(train.labels))).sum()),
        contradicting_rows=int((train.labels != train.labels[twins.first]).sum()),
        shared_rows=twins.count_among(hash_rows(test.features)),
        identifiers=_names_where(columns, is_identifier),
        telling=_names_where(columns, lambda values: tells_label(values, train.labels)),
        rounded=_names_where(numbers, _is_rounded),
        alike=_find_alike(schema.classes),
    )


def _names_where(columns: Mapping[str, Values], holds: Callable[[Values], bool]) -> tuple[str, ...]:
    return tuple(name for name, values in columns.items() if holds(values))


def _is_constant(values: Values) -> bool:
    return bool((values == values[0]).all())


def _is_rounded(values: Values) -> bool:
    values = values[values > np.finfo(np.float32).min]  # which stands for a missing one
    large = np.abs(values) >= _WHOLE_IN_FLOAT32
    return bool(large.any() and (values == np.rint(values)).all())


def _count_classes(schema: Schema, train: Labelled, test: Labelled) -> tuple[ClassRows, ...]:
    counts = (
        np.bincount(part.labels, minlength=schema.n_classes).tolist() for part in (train, test)
    )
    return tuple(map(ClassRows, schema.classes, *counts))


def _count_missing(schema: Schema, *parts: Labelled) -> tuple[Missing, ...]:
    found = (
        Missing(feature.name, sum(_missing_in(part.features[:, span], feature) for part in parts))
        for feature, span in zip(schema.features, schema.spans, strict=True)
    )
    return tuple(missing for missing in found if missing.cells)


def _missing_in(inputs: Float32Matrix, feature: Feature) -> int:
    if "" in feature.categories:
        return int((inputs[:, feature.categories.index("")] == 1).sum())
    return int(np.isnan(inputs[:, 0]).sum())


def _describe_dates(schema: Schema, columns: Mapping[str, Values]) -> tuple[Dates, ...]:
    return tuple(
        Dates(feature.name, feature.origin, _seconds_kept(columns[feature.name]))
        for feature in schema.features
        if feature.origin
    )


def _seconds_kept(days: Values) -> float:
    """How far a time may be rounded, in seconds; 0 for whole days, which float32 holds exactly."""
    days = days[days > np.finfo(np.float32).min]  # which stands for a missing one
    if (days == np.rint(days)).all():
        return 0.0
    return float(np.spacing(np.abs(days).max())) / 2 * _SECONDS_OF_A_DAY


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
