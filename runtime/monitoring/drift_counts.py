"""Counts of scored rows for the drift of features; those of parts merge to those of the whole."""

from __future__ import annotations

import math
from dataclasses import dataclass
from operator import add
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from runtime.monitoring.quantiles import QuantileSketch
from runtime.monitoring.ranges import round_limits
from runtime.schema.distribution import bin_edges
from runtime.value import Record, Value

if TYPE_CHECKING:
    from runtime.schema.features import Feature


class FeatureCounts(Record, frozen=True):
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
    """Counts of rows; ``merge`` is associative and commutative.

    Attributes:
        rows: number of rows.
        numbers: counts of numbers and dates, in the order of the schema.
        categories: rows with each category of a feature, likewise.
        others: the other columns by name, with why their drift is not known.
    """

    rows: int
    numbers: tuple[FeatureCounts, ...]
    categories: tuple[tuple[int, ...], ...]
    others: tuple[tuple[str, str], ...] = ()

    def merge(self, other: DriftCounts) -> DriftCounts:
        """Get the counts of the rows of both."""
        numbers = zip(self.numbers, other.numbers, strict=True)
        categories = zip(self.categories, other.categories, strict=True)
        return DriftCounts(
            self.rows + other.rows,
            tuple(one.merge(two) for one, two in numbers),
            tuple(tuple(map(add, *pair)) for pair in categories),
            tuple(sorted({*self.others, *other.others})),
        )


@dataclass(slots=True)
class FeatureCounter:
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


@dataclass(slots=True)
class CategoryCounts:
    """Exact counts of one feature's categories."""

    span: slice  # of its inputs
    counts: npt.NDArray[np.int64]  # (categories,)


def new_counter(feature: Feature, sketch: QuantileSketch) -> FeatureCounter:
    """Set up the bins; one without training rows is merged with the next."""
    low, high = round_limits([feature.minimum, feature.maximum])
    if not feature.shares:
        nothing = np.zeros(0, np.float32)
        counts = np.zeros(0, np.int64)
        return FeatureCounter(nothing, np.zeros(0), low, high, counts, True, sketch)
    edges, shares = np.array(bin_edges(feature.quantiles)), np.array(feature.shares)
    filled = np.append(shares[:-1] > 0, True)
    edges = edges[filled[:-1]].astype(np.float32)
    cumulative = np.zeros(len(edges), dtype=np.int64)
    may_be_missing = feature.missing == "imputed"
    return FeatureCounter(edges, shares[filled], low, high, cumulative, may_be_missing, sketch)
