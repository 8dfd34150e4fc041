"""Count values outside the training range, and unseen categories."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from runtime.value import Record

if TYPE_CHECKING:
    from collections.abc import Iterator

    from runtime.schema.features import Float32Matrix, Schema

    Float32Vector = npt.NDArray[np.float32]
    Counts = npt.NDArray[np.int64]

_CHUNK_BYTES = 2**20  # fits in the caches
_MIN_CHUNK_ROWS = 8192  # below, calls cost more than counting
N_COUNTS = 4  # of a feature


class OutOfRange(Record, frozen=True, omit_defaults=True):
    """Counts of a feature's values outside the training range.

    Attributes:
        below: numbers below the range.
        above: numbers above the range.
        unseen: categories that the training rows did not have.
        has_rare: whether ``unseen`` includes those that were too rare in training.
        all_unseen: whether these are all values of the column.
    """

    below: int
    above: int
    unseen: int = 0
    has_rare: bool = False
    all_unseen: bool = False

    @property
    def total(self) -> int:
        """Sum of all counts."""
        return self.below + self.above + self.unseen


class RangeMonitor:
    """Counts values outside the training range; for one thread.

    Attributes:
        counts: ``(features, 4)`` int64: below, above, unseen, and categories of training.
        open: slices of the inputs of features that accept unseen categories, by name.
    """

    def __init__(self, schema: Schema) -> None:
        """Start with no rows."""
        numbers = schema.numeric_features.values()
        self.open = {
            feature.name: span
            for feature, span in zip(schema.features, schema.spans, strict=True)
            if feature.one_hot and feature.one_hot.unseen == "other"
        }
        self._gaps = {
            each.name: self.open[each.name].start + each.categories.index("")
            for each in schema.features
            if each.name in self.open and "" in each.categories
        }  # the input of missing cells
        self._joined = {each.name for each in schema.features if each.one_hot and each.one_hot.rare}
        self._names = [*(feature.name for feature in numbers), *self.open]
        self._low = round_limits([feature.minimum for feature in numbers])
        self._high = round_limits([feature.maximum for feature in numbers])
        self._indices = numeric_columns(schema)
        self.counts: Counts = np.zeros((len(self._names), N_COUNTS), dtype=np.int64)

    def count(self, features: Float32Matrix) -> Counts:
        """Count the values of a block, ``(rows, n_inputs)`` float32; thread-safe."""
        counts = np.zeros_like(self.counts)
        ranges = count_out_of_range(features[:, self._indices], self._low, self._high)
        counts[: len(ranges), :2] = ranges
        for index, (name, span) in enumerate(self.open.items(), start=len(ranges)):
            unseen = np.count_nonzero(~features[:, span].any(axis=1))
            gap = self._gaps.get(name)
            missing = 0 if gap is None else np.count_nonzero(features[:, gap])
            counts[index, 2:] = unseen, len(features) - unseen - missing
        return counts

    def all_unseen(self, counts: Counts) -> list[str]:
        """Name the columns of categories that have values, and none of training."""
        n_open = len(self.open)
        rows = counts[len(counts) - n_open :, 2:].tolist()
        return [
            name for name, (unseen, seen) in zip(self.open, rows, strict=True) if unseen > seen == 0
        ]

    def add(self, features: Float32Matrix) -> None:
        """Add a block, ``(rows, n_inputs)`` float32."""
        self.counts += self.count(features)

    def report(self) -> dict[str, OutOfRange]:
        """Get the counts of every feature."""
        return {
            name: OutOfRange(below, above, unseen, name in self._joined, unseen > 0 and not seen)
            for name, (below, above, unseen, seen) in zip(
                self._names, self.counts.tolist(), strict=True
            )
        }


def numeric_columns(schema: Schema) -> slice | list[int]:
    """Index the columns of numbers and dates in the model's matrix."""
    return slice(None) if schema.is_numeric else list(schema.numeric_features)


def count_out_of_range(
    features: Float32Matrix, low: Float32Vector, high: Float32Vector
) -> npt.NDArray[np.int64]:
    """Count values outside inclusive ranges: ``(features, 2)`` int64, below and above."""
    counts = np.zeros((features.shape[1], 2), dtype=np.int64)
    for columns in transposed_chunks(features):
        for count, column, lowest, highest in zip(counts, columns, low, high, strict=True):
            count[0] += np.count_nonzero(column < lowest)
            count[1] += np.count_nonzero(column > highest)
    return counts


def round_limits(limits: list[float]) -> Float32Vector:
    """Round the limits of ranges to float32, as values are rounded."""
    with np.errstate(over="ignore"):
        return np.array(limits, dtype=np.float64).astype(np.float32)


def transposed_chunks(features: Float32Matrix) -> Iterator[Float32Matrix]:
    """Transpose a matrix in chunks of rows: numpy is ten times as fast along contiguous columns."""
    step = max(_CHUNK_BYTES // (4 * max(features.shape[1], 1)), _MIN_CHUNK_ROWS)
    for start in range(0, len(features), step):
        yield np.ascontiguousarray(features[start : start + step].T)
