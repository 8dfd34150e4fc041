"""Drift of the scored rows from the training rows: population stability index and deciles."""

from __future__ import annotations

import math
from dataclasses import dataclass
from operator import add
from typing import TYPE_CHECKING, Final, Literal

import numpy as np
import numpy.typing as npt

from runtime.errors import UsageError
from runtime.monitoring.quantiles import QuantileSketch
from runtime.monitoring.ranges import numeric_columns, round_limits, transposed_chunks
from runtime.printable import list_names
from runtime.schema.distribution import bin_edges
from runtime.value import Record, Value

if TYPE_CHECKING:
    from collections.abc import Sequence

    from runtime.schema.features import Feature, Float32Matrix, Schema

PsiReading = Literal["stable", "shifted", "drifted", "too few rows"]

MIN_SHARE: Final = 1e-4
MIN_ROWS: Final = 200
SHIFTED_FROM: Final = 0.1
DRIFTED_ABOVE: Final = 0.25
_MAX_CELLS: Final = 2**14  # of a feature's quantiles
_MAX_ALL_CELLS: Final = 2**20  # 12 MiB
_MIN_CELLS: Final = 1024
_MAX_WAITING: Final = 2**21  # values, 8 MiB
_MAX_NAMES: Final = 5  # features in a message


def population_stability_index(training: Sequence[float], scored: Sequence[float]) -> float:
    """Compute the population stability index of two histograms."""
    expected, actual = np.maximum(training, MIN_SHARE), np.maximum(scored, MIN_SHARE)
    return float(np.sum((actual - expected) * np.log(actual / expected)))


def interpret_psi(psi: float | None, rows: int) -> PsiReading:
    """Interpret an index by the usual thresholds."""
    if psi is None or rows < MIN_ROWS:
        return "too few rows"
    if psi < SHIFTED_FROM:
        return "stable"
    return "shifted" if psi <= DRIFTED_ABOVE else "drifted"


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


class FeatureDrift(Record, frozen=True):
    """Drift of one feature.

    Attributes:
        name: of the feature.
        psi: population stability index; None without rows.
        reading: interpretation of the index.
        below: rows below the training range.
        above: rows above the training range.
        minimum: smallest scored value; None without rows.
        maximum: largest scored value; None without rows.
        quantiles: deciles of the scored rows, 0 to 100 %; empty without rows.
        quantile_error: bound of their relative error; 0 where they are exact.
        training_quantiles: deciles of the training rows.
        bins: the histograms that the index compares.
    """

    name: str
    psi: float | None
    reading: PsiReading
    below: int
    above: int
    minimum: float | None
    maximum: float | None
    quantiles: tuple[float, ...]
    quantile_error: float
    training_quantiles: tuple[float, ...]
    bins: tuple[Bin, ...]


class DriftReport(Record, frozen=True):
    """Drift of all features.

    Attributes:
        rows: number of scored rows.
        features: numbers and dates, in the order of the schema.
    """

    rows: int
    features: tuple[FeatureDrift, ...]


class FeatureCounts(Value, frozen=True):
    """Counts of one feature; ``merge`` is associative and commutative.

    Attributes:
        rows: with a value.
        below: rows below the training range.
        above: rows above the training range.
        minimum: smallest value; infinite without rows.
        maximum: largest value; minus infinity without rows.
        cumulative: rows at or below each edge of the bins.
        sketch: of the quantiles.
    """

    rows: int
    below: int
    above: int
    minimum: float
    maximum: float
    cumulative: tuple[int, ...]
    sketch: QuantileSketch

    def merge(self, other: FeatureCounts) -> FeatureCounts:
        """Get the counts of the rows of both."""
        return FeatureCounts(
            self.rows + other.rows,
            self.below + other.below,
            self.above + other.above,
            min(self.minimum, other.minimum),
            max(self.maximum, other.maximum),
            tuple(map(add, self.cumulative, other.cumulative)),
            self.sketch.merge(other.sketch),
        )


class DriftCounts(Value, frozen=True):
    """Number of rows, and the counts of numbers and dates in the order of the schema."""

    rows: int
    features: tuple[FeatureCounts, ...]

    def merge(self, other: DriftCounts) -> DriftCounts:
        """Get the counts of the rows of both."""
        pairs = zip(self.features, other.features, strict=True)
        return DriftCounts(self.rows + other.rows, tuple(one.merge(two) for one, two in pairs))


@dataclass(slots=True)
class _FeatureCounter:
    """Counts the values of one feature."""

    edges: npt.NDArray[np.float32]  # (bins - 1,)
    shares: npt.NDArray[np.float64]  # (bins,), of training
    low: np.float32
    high: np.float32
    cumulative: npt.NDArray[np.int64]  # (bins - 1,), rows at or below each edge
    may_be_missing: bool
    sketch: QuantileSketch
    rows: int = 0  # with a value
    below: int = 0
    above: int = 0
    minimum: float = math.inf
    maximum: float = -math.inf

    def add(self, values: npt.NDArray[np.float32]) -> None:
        """Count values, ``(rows,)``; NaN is missing."""
        if self.may_be_missing:
            values = values[~np.isnan(values)]
        if not len(values):
            return
        self.rows += len(values)
        for index, edge in enumerate(self.edges):
            self.cumulative[index] += np.count_nonzero(values <= edge)
        smallest, largest = values.min(), values.max()
        if smallest < self.low:
            self.below += int(np.count_nonzero(values < self.low))
        if largest > self.high:
            self.above += int(np.count_nonzero(values > self.high))
        self.minimum = min(self.minimum, float(smallest) + 0.0)  # + 0.0: no negative zero
        self.maximum = max(self.maximum, float(largest) + 0.0)

    def counts(self) -> FeatureCounts:
        """Get the counts so far."""
        return FeatureCounts(
            self.rows,
            self.below,
            self.above,
            self.minimum,
            self.maximum,
            tuple(self.cumulative.tolist()),
            self.sketch,
        )

    def restore(self, counts: FeatureCounts) -> None:
        """Continue from counts."""
        self.rows, self.below, self.above = counts.rows, counts.below, counts.above
        self.minimum, self.maximum = counts.minimum, counts.maximum
        self.cumulative = np.array(counts.cumulative, dtype=np.int64)
        self.sketch = counts.sketch


class DriftMonitor:
    """Accumulates histograms of the scored rows, in constant memory; for one thread.

    The result is independent of the blocks and their order. Quantiles are exact up to 16,384
    distinct values of a feature, of fewer for more than 64 features.
    """

    def __init__(self, schema: Schema) -> None:
        """Start with no rows."""
        numbers = list(schema.numeric_features.values())
        if missing := [feature.name for feature in numbers if not feature.quantiles]:
            raise UsageError(_missing_quantiles_message(missing))
        self._features, self._indices = numbers, numeric_columns(schema)
        width = max(len(numbers), 1)
        sketch = QuantileSketch(max(min(_MAX_CELLS, _MAX_ALL_CELLS // width), _MIN_CELLS))
        self._counters = [_new_counter(feature, sketch) for feature in numbers]
        self._rows = 0
        # Values that wait for the sketches, which are quicker with many at once.
        self._waiting: list[Float32Matrix] = []
        self._max_waiting = max(_MAX_WAITING // width, 1)

    def add(self, features: Float32Matrix) -> None:
        """Count a block, ``(rows, n_inputs)`` float32."""
        features = features[:, self._indices]
        self._rows += len(features)
        for columns in transposed_chunks(features):
            for counter, values in zip(self._counters, columns, strict=True):
                counter.add(values)
            self._waiting.append(columns)
        if sum(columns.shape[1] for columns in self._waiting) > self._max_waiting:
            self._sketch_waiting()

    def counts(self) -> DriftCounts:
        """Get the counts of the rows added so far."""
        self._sketch_waiting()
        return DriftCounts(self._rows, tuple(counter.counts() for counter in self._counters))

    def restore(self, counts: DriftCounts) -> None:
        """Continue from counts."""
        self._rows = counts.rows
        for counter, found in zip(self._counters, counts.features, strict=True):
            counter.restore(found)

    def report(self) -> DriftReport:
        """Compare the rows added so far with the training rows."""
        counts = self.counts()
        parts = zip(self._features, self._counters, counts.features, strict=True)
        return DriftReport(counts.rows, tuple(_feature_drift(*part) for part in parts))

    def _sketch_waiting(self) -> None:
        if not self._waiting:
            return
        columns, self._waiting = np.concatenate(self._waiting, axis=1), []
        for counter, values in zip(self._counters, columns, strict=True):
            present = values[~np.isnan(values)] if counter.may_be_missing else values
            counter.sketch = counter.sketch.add(present)


def _new_counter(feature: Feature, sketch: QuantileSketch) -> _FeatureCounter:
    """Set up the bins; one without training rows is merged with the next."""
    edges, shares = np.array(bin_edges(feature.quantiles)), np.array(feature.shares)
    filled = np.append(shares[:-1] > 0, True)
    edges = edges[filled[:-1]].astype(np.float32)
    low, high = round_limits([feature.minimum, feature.maximum])
    cumulative = np.zeros(len(edges), dtype=np.int64)
    may_be_missing = feature.missing == "imputed"
    return _FeatureCounter(edges, shares[filled], low, high, cumulative, may_be_missing, sketch)


def _feature_drift(
    feature: Feature, counter: _FeatureCounter, counts: FeatureCounts
) -> FeatureDrift:
    rows = counts.rows
    by_bin = np.diff(counts.cumulative, prepend=0, append=rows)
    scored = (by_bin / rows).tolist() if rows else []
    training = counter.shares.tolist()
    uppers = [*map(float, counter.edges), None]
    psi = population_stability_index(training, scored) if scored else None
    return FeatureDrift(
        name=feature.name,
        psi=psi,
        reading=interpret_psi(psi, rows),
        below=counts.below,
        above=counts.above,
        minimum=counts.minimum if rows else None,
        maximum=counts.maximum if rows else None,
        quantiles=_quantiles(counts),
        quantile_error=counts.sketch.error,
        training_quantiles=feature.quantiles,
        bins=tuple(map(Bin, uppers, training, scored or [None] * len(by_bin))),
    )


def _quantiles(counts: FeatureCounts) -> tuple[float, ...]:
    """Get the deciles; the extremes are exact, and bound the others."""
    if not counts.rows:
        return ()
    inner = [min(value, counts.maximum) for value in counts.sketch.deciles()[1:-1]]
    return (counts.minimum, *inner, counts.maximum)


def _missing_quantiles_message(names: Sequence[str]) -> str:
    return (
        "--drift compares with the training rows, and this bundle's schema has no quantiles "
        f"for {list_names(names, _MAX_NAMES)}: fit and export the model again with this release "
        "or, for a model trained elsewhere, set the quantiles and shares of its schema with "
        "runtime.schema.distribution.describe_values and export again; or leave out --drift"
    )
