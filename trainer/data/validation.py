"""Check a table before training: duplicates, leakage and suspicious columns.

Rows are compared by 64-bit hashes: among a million rows the probability of a collision is 3 in 100
million.
"""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING, Final

import msgspec
import numpy as np

from runtime.schema.names import similar_names
from runtime.schema.spellings import spelling_key
from trainer.data.dataset import (
    ClassCounts,
    DataCheck,
    DateColumn,
    EpochColumn,
    MissingCells,
    RareCategories,
)
from trainer.data.features import single_columns
from trainer.data.splits import mix

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import numpy.typing as npt

    from runtime.schema.features import Feature, Float32Matrix, Schema
    from trainer.data.dataset import LabelledRows

    Hashes = npt.NDArray[np.uint64]
    Values = npt.NDArray[np.float32]
    Labels = npt.NDArray[np.int64]

# In Parquet, and where an index was read from CSV.
_PANDAS_INDEX: Final = re.compile(r"__index_level_[0-9]+__|Unnamed: [0-9]+")
_WHOLE_IN_FLOAT32 = 2.0**24  # whole numbers beyond are rounded
_LARGEST_INTEGER = 2.0**64  # beyond, no column has ids or counts
_PRESENT_SECONDS = 946_684_800, 2_208_988_800  # since 1970: the years 2000 to 2039
_NAMED_SECONDS = 100_000_000, 4_102_444_800  # 1973 to 2099
_TIME_NAME: Final = re.compile(
    r"(?<![a-z])(time|timestamp|date|datetime|epoch|created|updated|modified|expires|at|ts|when)"
    r"(?![a-z])",
    re.IGNORECASE,
)
_HUMP: Final = re.compile(r"(?<=[a-z])(?=[A-Z])")  # createdAt
_SECONDS_OF_A_DAY = 86_400
_MIN_ROWS = 20  # with fewer, unique or separating values are chance
_MAX_RANGE_PER_ROW = 10  # range of identifiers per row, at most
_MAX_DISTINCT_SHARE = 0.1  # distinct values per row: more would identify rows, not labels
_SAMPLE = 4096  # rows sorted first: most columns fail there already


def check_data(
    schema: Schema, train: LabelledRows, test: LabelledRows, *, empty: Sequence[str]
) -> DataCheck:
    """Check training and test rows; ``empty`` are columns that were excluded."""
    columns = single_columns(schema, train.features)
    numbers = {feature.name: columns[feature.name] for feature in schema.numeric_features.values()}
    duplicates = DuplicateIndex(hash_rows(train.features))
    return DataCheck(
        train_rows=len(train.labels),
        test_rows=len(test.labels),
        features=schema.n_features,
        classes=_count_classes(schema, train, test),
        empty=tuple(empty),
        missing=_count_missing(schema, train, test),
        dates=_describe_dates(schema, columns),
        constant=_names_where(columns, _is_constant),
        identical=_find_identical(columns),
        duplicate_rows=int((duplicates.first != np.arange(len(train.labels))).sum()),
        conflicting_rows=int((train.labels != train.labels[duplicates.first]).sum()),
        leaked_rows=duplicates.count_among(hash_rows(test.features)),
        identifiers=_names_where(columns, is_identifier),
        leaking=_names_where(columns, lambda values: determines_label(values, train.labels)),
        rounded=_names_where(numbers, _is_rounded),
        similar_classes=similar_names(schema.classes, spelling_key),
        index=tuple(filter(_PANDAS_INDEX.fullmatch, schema.feature_names)),
        epochs=_find_epochs(schema, columns) or msgspec.UNSET,
        rare=_describe_rare(schema, train, test) or msgspec.UNSET,
    )


def _names_where(columns: Mapping[str, Values], holds: Callable[[Values], bool]) -> tuple[str, ...]:
    return tuple(name for name, values in columns.items() if holds(values))


def _is_constant(values: Values) -> bool:
    return bool((values == values[0]).all())


def _is_rounded(values: Values) -> bool:
    values = values[values > np.finfo(np.float32).min]  # the smallest is a missing one
    largest = np.abs(values).max(initial=0)
    is_integer = _WHOLE_IN_FLOAT32 <= largest <= _LARGEST_INTEGER
    return bool(is_integer and (values == np.rint(values)).all())


def _find_epochs(schema: Schema, columns: Mapping[str, Values]) -> tuple[EpochColumn, ...]:
    """Find whole numbers that look like seconds or milliseconds since 1970."""
    found = (
        (feature.name, _epoch_format(feature.name, columns[feature.name]))
        for feature in schema.numeric_features.values()
        if not feature.origin
    )
    return tuple(EpochColumn(name, each) for name, each in found if each)


def _epoch_format(name: str, values: Values) -> str:
    """Choose the format of times: all in the present, or in a wider range under such a name."""
    values = values[values > np.finfo(np.float32).min]  # the smallest is a missing one
    if (values != np.rint(values)).any():
        return ""
    is_named = _TIME_NAME.search(_HUMP.sub("_", name)) is not None
    first, last = _NAMED_SECONDS if is_named else _PRESENT_SECONDS
    for date_format, per_second in (("epoch-s", 1), ("epoch-ms", 1000)):
        if values.min() >= first * per_second and values.max() < last * per_second:
            return date_format
    return ""


def _count_classes(
    schema: Schema, train: LabelledRows, test: LabelledRows
) -> tuple[ClassCounts, ...]:
    counts = (
        np.bincount(part.labels, minlength=schema.n_classes).tolist() for part in (train, test)
    )
    return tuple(map(ClassCounts, schema.classes, *counts))


def _count_missing(schema: Schema, *parts: LabelledRows) -> tuple[MissingCells, ...]:
    found = (
        MissingCells(
            feature.name, sum(_missing_in(part.features[:, span], feature) for part in parts)
        )
        for feature, span in zip(schema.features, schema.spans, strict=True)
    )
    return tuple(missing for missing in found if missing.cells)


def _missing_in(inputs: Float32Matrix, feature: Feature) -> int:
    if "" in feature.categories:
        return int((inputs[:, feature.categories.index("")] == 1).sum())
    return int(np.isnan(inputs[:, 0]).sum())


def _describe_rare(schema: Schema, *parts: LabelledRows) -> tuple[RareCategories, ...]:
    return tuple(
        RareCategories(
            feature.name,
            kept=len(feature.categories),
            joined=feature.one_hot.rare,
            cells=sum(int((~part.features[:, span].any(axis=1)).sum()) for part in parts),
        )
        for feature, span in zip(schema.features, schema.spans, strict=True)
        if feature.one_hot and feature.one_hot.rare
    )


def _describe_dates(schema: Schema, columns: Mapping[str, Values]) -> tuple[DateColumn, ...]:
    return tuple(
        DateColumn(feature.name, feature.origin, _resolution_s(columns[feature.name]))
        for feature in schema.features
        if feature.origin
    )


def _resolution_s(days: Values) -> float:
    """Compute the resolution of times, in seconds; 0 for whole days, which are exact."""
    days = days[days > np.finfo(np.float32).min]  # the smallest is a missing one
    if (days == np.rint(days)).all():
        return 0.0
    return float(np.spacing(np.abs(days).max())) / 2 * _SECONDS_OF_A_DAY


def _find_identical(columns: Mapping[str, Values]) -> tuple[tuple[str, ...], ...]:
    """Group columns that are equal, byte for byte but for the sign of zero."""
    groups: dict[bytes, list[str]] = {}
    for name, values in columns.items():
        key = hashlib.sha256((values + np.float32(0)).data).digest()
        groups.setdefault(key, []).append(name)
    return tuple(tuple(names) for names in groups.values() if len(names) > 1)


def hash_rows(features: Float32Matrix) -> Hashes:
    """Hash rows, ``(rows, n)`` float32 to ``(rows,)`` uint64; the sign of zero is ignored."""
    hashes = np.zeros(len(features), dtype=np.uint64)
    for values in features.T:
        bits = (values + np.float32(0)).view(np.uint32)
        hashes = mix(hashes + bits + np.uint64(1))
    return hashes


class DuplicateIndex:
    """Finds equal rows by their hashes.

    Attributes:
        first: ``(rows,)`` int64, for each row the first row equal to it, possibly itself.
    """

    def __init__(self, hashes: Hashes) -> None:
        """Index the hashes of rows, ``(rows,)``."""
        order = np.argsort(hashes, kind="stable")
        self._ordered = hashes[order]
        begins = np.append(True, self._ordered[1:] != self._ordered[:-1])[: len(order)]
        starts = np.flatnonzero(begins)
        self.first = np.empty(len(order), dtype=np.int64)
        self.first[order] = np.repeat(order[starts], np.diff(starts, append=len(order)))

    def count_among(self, hashes: Hashes) -> int:
        """Count the rows of another table that are equal to one of these."""
        positions = np.searchsorted(self._ordered, hashes)
        found = self._ordered[np.minimum(positions, len(self._ordered) - 1)]
        return int(np.count_nonzero(found == hashes))


def is_identifier(values: Values) -> bool:
    """Check whether a column looks like an identifier.

    Its values are unique whole numbers, dense or in the table's order; a text's value is its rank.
    """
    rows = len(values)
    if rows < _MIN_ROWS or (values != np.rint(values)).any():
        return False
    before, after = values[:-1], values[1:]
    if (after > before).all() or (after < before).all():
        return True
    is_dense = float(values.max()) - float(values.min()) < _MAX_RANGE_PER_ROW * rows
    return is_dense and len(np.unique(values)) == rows


def determines_label(values: Values, labels: Labels) -> bool:
    """Check whether a column alone determines the label, as target leakage does.

    Every value has one label, and thresholds separate the classes or there are few values.
    """
    if len(values) < _MIN_ROWS:
        return False
    step = -(-len(values) // _SAMPLE)
    return _is_determining(values[::step], labels[::step]) and _is_determining(values, labels)


def _is_determining(values: Values, labels: Labels) -> bool:
    order = np.lexsort((labels, values))
    ordered, classes = values[order], labels[order]
    changes = classes[1:] != classes[:-1]
    if (changes & (ordered[1:] == ordered[:-1])).any():  # one value, two labels
        return False
    distinct = 1 + np.count_nonzero(ordered[1:] != ordered[:-1])
    runs = 1 + np.count_nonzero(changes)
    n_classes = len(np.unique(classes))
    return n_classes > 1 and bool(
        runs == n_classes or distinct <= _MAX_DISTINCT_SHARE * len(values)
    )
