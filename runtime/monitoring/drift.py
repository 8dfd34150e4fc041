"""Drift of the scored rows from the training rows: population stability index and deciles."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt

from runtime.errors import UsageError
from runtime.monitoring.drift_counts import (
    CategoryCounts,
    DriftCounts,
    FeatureCounter,
    new_counter,
)
from runtime.monitoring.psi import PsiReading, interpret_psi, population_stability_index
from runtime.monitoring.quantiles import QuantileSketch
from runtime.monitoring.ranges import numeric_columns, transposed_chunks
from runtime.printable import list_names
from runtime.surfaces import option
from runtime.value import Record

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from runtime.schema.features import Feature, Float32Matrix, Schema

_MAX_CELLS: Final = 2**14  # of a feature's quantiles
_MAX_ALL_CELLS: Final = 2**20  # 12 MiB
_MIN_CELLS: Final = 1024
_MAX_WAITING: Final = 2**21  # values, 8 MiB
_MAX_NAMES: Final = 5  # features in a message


class Bin(Record, frozen=True):
    """A bin of a histogram.

    Attributes:
        upper: upper bound, inclusive; None for the last bin.
        training: share of the training rows, 0 to 1.
        scored: share of the scored rows; None without rows.
    """

    upper: float | None
    training: float
    scored: float | None


class CategoryShare(Record, frozen=True):
    """A category.

    Attributes:
        name: of the category; None for all texts that are no category.
        training: share of the training rows, 0 to 1.
        scored: share of the scored rows; None without rows.
    """

    name: str | None
    training: float
    scored: float | None


class FeatureDrift(Record, frozen=True):
    """Drift of one feature.

    Attributes:
        name: of the feature.
        psi: population stability index; None without rows or a training distribution.
        reading: interpretation of the index, or that there is none.
        reason: why there is none, in words; None where there is one.
        below: rows below the training range.
        above: rows above the training range.
        minimum: smallest scored value; None without rows.
        maximum: largest scored value; None without rows.
        quantiles: deciles of the scored rows, 0 to 100 %; empty without rows.
        quantile_error: bound of their relative error; 0 where they are exact.
        training_quantiles: deciles of the training rows.
        bins: the histograms that the index compares; empty for categories.
        categories: the shares that the index compares; empty for numbers and dates.
    """

    name: str
    psi: float | None
    reading: PsiReading
    reason: str | None
    below: int = 0
    above: int = 0
    minimum: float | None = None
    maximum: float | None = None
    quantiles: tuple[float, ...] = ()
    quantile_error: float = 0.0
    training_quantiles: tuple[float, ...] = ()
    bins: tuple[Bin, ...] = ()
    categories: tuple[CategoryShare, ...] = ()


class OtherColumn(Record, frozen=True):
    """A column of the scored table that is no feature, and why its drift is not known."""

    name: str
    reason: str


class DriftReport(Record, frozen=True):
    """Drift of all columns.

    Attributes:
        rows: number of scored rows.
        features: in the order of the schema.
        others: the other columns of the tables, by name.
    """

    rows: int
    features: tuple[FeatureDrift, ...]
    others: tuple[OtherColumn, ...] = ()


class DriftMonitor:
    """Accumulates histograms of the scored rows, in constant memory; for one thread.

    The result is independent of the blocks and their order. Quantiles are exact up to 16,384
    distinct values of a feature, of fewer for more than 64 features.
    """

    def __init__(self, schema: Schema) -> None:
        """Start with no rows; ``UsageError`` when no feature has a training distribution."""
        if not any(feature.shares for feature in schema.features):
            raise UsageError(_no_reference_message(schema.feature_names))
        numbers = list(schema.numeric_features.values())
        self._features, self._indices = schema.features, numeric_columns(schema)
        self._categories = {
            each.name: CategoryCounts(span, np.zeros(len(each.categories), np.int64))
            for each, span in zip(schema.features, schema.spans, strict=True)
            if each.categories
        }
        width = max(len(numbers), 1)
        sketch = QuantileSketch(max(min(_MAX_CELLS, _MAX_ALL_CELLS // width), _MIN_CELLS))
        self._numbers = {each.name: new_counter(each, sketch) for each in numbers}
        self._rows = 0
        self._others: dict[str, str] = {}
        # Values that wait for the sketches, which are quicker with many at once.
        self._waiting: list[Float32Matrix] = []
        self._max_waiting = max(_MAX_WAITING // width, 1)

    def add(self, features: Float32Matrix) -> None:
        """Count a block, ``(rows, n_inputs)`` float32."""
        for categories in self._categories.values():
            categories.counts += features[:, categories.span].sum(axis=0, dtype=np.int64)
        self._rows += len(features)
        for columns in transposed_chunks(features[:, self._indices]):
            for counter, values in zip(self._numbers.values(), columns, strict=True):
                counter.add(values)
            self._waiting.append(columns)
        if sum(columns.shape[1] for columns in self._waiting) > self._max_waiting:
            self._sketch_waiting()

    def counts(self) -> DriftCounts:
        """Get the counts of the rows added so far."""
        self._sketch_waiting()
        return DriftCounts(
            self._rows,
            tuple(counter.counts() for counter in self._numbers.values()),
            tuple(tuple(each.counts.tolist()) for each in self._categories.values()),
            tuple(sorted(self._others.items())),
        )

    def restore(self, counts: DriftCounts) -> None:
        """Continue from counts."""
        self._rows = counts.rows
        for counter, found in zip(self._numbers.values(), counts.numbers, strict=True):
            counter.restore(found)
        for categories, known in zip(self._categories.values(), counts.categories, strict=True):
            categories.counts = np.array(known, dtype=np.int64)
        self._others = dict(counts.others)

    def add_others(self, reasons: Mapping[str, str]) -> None:
        """Add the columns of a table that are no features, with why their drift is not known."""
        for name, reason in reasons.items():
            self._others.setdefault(name, reason)

    def report(self) -> DriftReport:
        """Compare the rows added so far with the training rows."""
        self._sketch_waiting()
        return DriftReport(
            rows=self._rows,
            features=tuple(
                _category_drift(each, self._categories[each.name].counts, self._rows)
                if each.categories
                else _number_drift(each, self._numbers[each.name])
                for each in self._features
            ),
            others=tuple(
                OtherColumn(name, reason) for name, reason in sorted(self._others.items())
            ),
        )

    def _sketch_waiting(self) -> None:
        if not self._waiting:
            return
        columns, self._waiting = np.concatenate(self._waiting, axis=1), []
        for counter, values in zip(self._numbers.values(), columns, strict=True):
            present = values[~np.isnan(values)] if counter.may_be_missing else values
            counter.sketch = counter.sketch.add(present)


def other_columns(
    columns: Sequence[str],
    schema: Schema,
    left_out: Mapping[str, str],
    truth: str | None,
) -> dict[str, str]:
    """Say why the drift of a table's columns that are no features is not known.

    ``left_out`` are those that training left out, with the reason.
    """
    reasons = {}
    for name in columns:
        if name in left_out:
            reasons[name] = f"left out in training: {left_out[name]}"
        elif name == truth:
            reasons[name] = "the true class, see accuracy"
        elif name == schema.target:
            reasons[name] = "what the model predicts"
        else:
            reasons[name] = "not read by the model, nor in its training table"
    return reasons


def _number_drift(feature: Feature, counts: FeatureCounter) -> FeatureDrift:
    rows = counts.rows
    by_bin = np.diff(counts.cumulative, prepend=0, append=rows)
    training = counts.shares.tolist()
    scored = (by_bin / rows).tolist() if rows and training else []
    uppers = [*map(float, counts.edges), None]
    psi = population_stability_index(training, scored) if scored else None
    reading, reason = interpret_psi(feature, psi, rows)
    return FeatureDrift(
        name=feature.name,
        psi=psi,
        reading=reading,
        reason=reason,
        below=counts.below,
        above=counts.above,
        minimum=counts.minimum if rows else None,
        maximum=counts.maximum if rows else None,
        quantiles=_quantiles(counts),
        quantile_error=counts.sketch.error,
        training_quantiles=feature.quantiles,
        bins=tuple(map(Bin, uppers, training, scored or [None] * len(training))),
    )


def _category_drift(feature: Feature, counts: npt.NDArray[np.int64], rows: int) -> FeatureDrift:
    """Compare the shares of categories; texts that are none are together one."""
    names: list[str | None] = [*feature.categories, None]
    training = [*feature.shares, max(1 - math.fsum(feature.shares), 0.0)] if feature.shares else []
    scored = (np.append(counts, rows - counts.sum()) / rows).tolist() if rows else []
    if not any((*training[-1:], *scored[-1:])):
        names, training, scored = names[:-1], training[:-1], scored[:-1]
    psi = population_stability_index(training, scored) if training and scored else None
    reading, reason = interpret_psi(feature, psi, rows)
    shares = map(CategoryShare, names, training, scored or [None] * len(training))
    return FeatureDrift(feature.name, psi, reading, reason, categories=tuple(shares))


def _quantiles(counts: FeatureCounter) -> tuple[float, ...]:
    """Get the deciles; the extremes are exact, and bound the others."""
    if not counts.rows:
        return ()
    inner = [min(value, counts.maximum) for value in counts.sketch.deciles()[1:-1]]
    return (counts.minimum, *inner, counts.maximum)


def _no_reference_message(names: Sequence[str]) -> str:
    return (
        f"{option('drift')} compares with the training rows, and this bundle's schema has no "
        f"distribution for {list_names(names, _MAX_NAMES)}: fit and export the model again with "
        "this release or, for a model trained elsewhere, set the quantiles and shares of its "
        "schema with runtime.schema.distribution.describe_values and export again; or leave out "
        + option("drift")
    )
