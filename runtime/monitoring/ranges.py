"""Values unlike any that training saw, yet scored: out of its range, or unseen categories."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from runtime.bundle.manifest import Record

if TYPE_CHECKING:
    from collections.abc import Iterator

    from runtime.schema.features import Float32Matrix, Schema

    Float32Vector = npt.NDArray[np.float32]
    Counts = npt.NDArray[np.int64]

_PIECE_BYTES = 2**20  # stays in a processor's caches
_FEWEST_ROWS = 8192  # below, numpy's calls cost more than the counting


class OutOfRange(Record, frozen=True, omit_defaults=True):
    """How many values of a feature are unlike any of training.

    Attributes:
        below: numbers below its range.
        above: numbers above it.
        unseen: categories that it did not have, where these are none of those it had.
    """

    below: int
    above: int
    unseen: int = 0

    @property
    def total(self) -> int:
        """How many in all."""
        return self.below + self.above + self.unseen


class RangeMonitor:
    """What a schema saw in training, and how many values so far are unlike it; for one thread.

    Attributes:
        counts: ``(features, 3)`` int64, as ``OutOfRange`` has them.
        open: where in a model's matrix the features of categories are that take any, by name.
    """

    def __init__(self, schema: Schema) -> None:
        """Start with no rows."""
        numbers = schema.numbers.values()
        self.open = {
            feature.name: span
            for feature, span in zip(schema.features, schema.spans, strict=True)
            if feature.one_hot and feature.one_hot.unseen == "other"
        }
        self._names = [*(feature.name for feature in numbers), *self.open]
        self._low = round_limits([feature.minimum for feature in numbers])
        self._high = round_limits([feature.maximum for feature in numbers])
        self._places = numeric_columns(schema)
        self.counts: Counts = np.zeros((len(self._names), 3), dtype=np.int64)

    def count(self, features: Float32Matrix) -> Counts:
        """Count a block's values, ``(rows, n_inputs)`` float32, in any thread; see ``counts``."""
        counts = np.zeros_like(self.counts)
        ranges = count_out_of_range(features[:, self._places], self._low, self._high)
        counts[: len(ranges), :2] = ranges
        for at, span in enumerate(self.open.values(), start=len(ranges)):
            counts[at, 2] = np.count_nonzero(~features[:, span].any(axis=1))
        return counts

    def add(self, features: Float32Matrix) -> None:
        """Count the rows of a block, ``(rows, n_inputs)`` float32."""
        self.counts += self.count(features)

    def outside(self) -> dict[str, OutOfRange]:
        """Give the counts of every feature, also those without a value outside."""
        return {
            name: OutOfRange(*counts)
            for name, counts in zip(self._names, self.counts.tolist(), strict=True)
        }


def numeric_columns(schema: Schema) -> slice | list[int]:
    """Say where in a model's matrix the columns of numbers are."""
    return slice(None) if schema.is_numeric else list(schema.numbers)


def count_out_of_range(
    features: Float32Matrix, low: Float32Vector, high: Float32Vector
) -> npt.NDArray[np.int64]:
    """Count values outside a range; a value at its end is inside."""
    counts = np.zeros((features.shape[1], 2), dtype=np.int64)
    for columns in transposed_chunks(features):
        for count, column, lowest, highest in zip(counts, columns, low, high, strict=True):
            count[0] += np.count_nonzero(column < lowest)
            count[1] += np.count_nonzero(column > highest)
    return counts


def round_limits(ends: list[float]) -> Float32Vector:
    """Round the ends of ranges as the values were rounded: both keep their order."""
    with np.errstate(over="ignore"):
        return np.array(ends, dtype=np.float64).astype(np.float32)


def transposed_chunks(features: Float32Matrix) -> Iterator[Float32Matrix]:
    """Turn a matrix over, a few rows at a time: numpy is ten times faster along a column."""
    step = max(_PIECE_BYTES // (4 * max(features.shape[1], 1)), _FEWEST_ROWS)
    for start in range(0, len(features), step):
        yield np.ascontiguousarray(features[start : start + step].T)
