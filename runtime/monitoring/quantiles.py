"""Quantiles of a stream of float32 values in constant memory, independent of how it is split.

The values are counted in cells of a histogram. A cell is a run of ``2**shift`` neighbouring
float32 values, and ``shift`` is the smallest with which the cells fit in ``capacity``. It depends
on nothing but the values, so sketches of parts merge to the sketch of the whole, to the bit. While
at most ``capacity`` distinct values have come, the quantiles are exact.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from runtime.schema.distribution import decile_indices
from runtime.value import Value

if TYPE_CHECKING:
    import numpy.typing as npt

    Cells = npt.NDArray[np.uint32]
    Counts = npt.NDArray[np.int64]

_SIGN: Final = np.uint32(1 << 31)
_MANTISSA_BITS: Final = 23
_DENSE: Final = 4  # cells a value, up to which an array of all is cheaper than sorting


class QuantileSketch(Value, frozen=True):
    """Counts of values in cells; merging is associative and commutative.

    Attributes:
        capacity: the largest number of cells.
        shift: a cell is ``2**shift`` neighbouring values.
        cells: ascending uint32, the keys of a cell's values without their last ``shift`` bits; see
            ``_to_keys``.
        counts: values in each cell, int64.
    """

    capacity: int
    shift: int = 0
    cells: bytes = b""
    counts: bytes = b""

    def add(self, values: npt.NDArray[np.float32]) -> QuantileSketch:
        """Count values, ``(rows,)`` without NaN."""
        # Cells never shrink: the values can be counted in those of now.
        return self._with(*_count(_to_keys(values) >> np.uint32(self.shift)), self.shift)

    def merge(self, other: QuantileSketch) -> QuantileSketch:
        """Get the sketch of the values of both."""
        if other.shift < self.shift:
            return other.merge(self)
        return self._with(other._cells, other._counts, other.shift)

    def deciles(self) -> tuple[float, ...]:
        """Get the deciles, each the upper bound of a cell; empty without values."""
        totals = np.cumsum(self._counts)
        if not len(totals):
            return ()
        cells = np.searchsorted(totals, decile_indices(int(totals[-1])), side="right")
        keys = (self._cells[cells] << np.uint32(self.shift)) | np.uint32((1 << self.shift) - 1)
        return tuple(_to_values(keys).astype(np.float64).tolist())

    @property
    def error(self) -> float:
        """Bound of the relative error of a quantile; 0 where they are exact."""
        return 2.0 ** (self.shift - _MANTISSA_BITS) if self.shift else 0.0

    @property
    def _cells(self) -> Cells:
        return np.frombuffer(self.cells, dtype=np.uint32)

    @property
    def _counts(self) -> Counts:
        return np.frombuffer(self.counts, dtype=np.int64)

    def _with(self, more: Cells, more_counts: Counts, shift: int) -> QuantileSketch:
        """Add cells of a shift that is at least the own, and merge neighbours until they fit."""
        cells = np.concatenate([self._cells >> np.uint32(shift - self.shift), more])
        order = np.argsort(cells, kind="stable")
        counts = np.concatenate([self._counts, more_counts])[order]
        cells, counts = _sum_equal(cells[order], counts)
        while len(cells) > self.capacity:
            shift += 1
            cells, counts = _sum_equal(cells >> np.uint32(1), counts)
        return QuantileSketch(self.capacity, shift, cells.tobytes(), counts.tobytes())


def _count(cells: Cells) -> tuple[Cells, Counts]:
    """Count equal cells; ascending."""
    if not len(cells):
        return cells, np.zeros(0, dtype=np.int64)
    lowest = cells.min()
    if int(cells.max()) - int(lowest) > _DENSE * len(cells):
        return _sum_equal(np.sort(cells), np.ones(len(cells), dtype=np.int64))
    counts = np.bincount(cells - lowest)
    filled = np.flatnonzero(counts)
    return filled.astype(np.uint32) + lowest, counts[filled]


def _sum_equal(cells: Cells, counts: Counts) -> tuple[Cells, Counts]:
    """Sum the counts of equal cells, which ascend."""
    if not len(cells):
        return cells, counts
    ends = np.flatnonzero(np.append(cells[1:] != cells[:-1], np.True_))
    return cells[ends], np.diff(np.cumsum(counts)[ends], prepend=0)


def _to_keys(values: npt.NDArray[np.float32]) -> Cells:
    """Map values to unsigned integers of the same order: the bits, the negative ones inverted."""
    bits = (values + np.float32(0)).view(np.uint32)  # + 0: no negative zero
    return np.where(bits & _SIGN, ~bits, bits | _SIGN)


def _to_values(keys: Cells) -> npt.NDArray[np.float32]:
    return np.where(keys & _SIGN, keys ^ _SIGN, ~keys).view(np.float32)
