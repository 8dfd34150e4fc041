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
_LOWEST: Final = np.int32(-(2**31))  # its bits are those of _SIGN
_MANTISSA_BITS: Final = 23


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
        # Cells never shrink: values can be counted in those of now, and the first values lead to
        # cells in which the others are counted at a tenth of the time.
        sketch, start, size = self, 0, 2 * self.capacity
        while start < len(values):
            keys = _to_keys(values[start : start + size])
            sketch = sketch._with(*_count(keys >> np.uint32(sketch.shift)), sketch.shift)
            start, size = start + size, 2 * size
        return sketch

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
        counts = np.concatenate([self._counts, more_counts])
        if self.cells:
            order = np.argsort(cells, kind="stable")
            cells, counts = _sum_equal(cells[order], counts[order])
        while len(cells) > self.capacity:
            shift += 1
            cells, counts = _sum_equal(cells >> np.uint32(1), counts)
        return QuantileSketch(self.capacity, shift, cells.tobytes(), counts.tobytes())


def _count(cells: Cells) -> tuple[Cells, Counts]:
    """Count equal cells; ascending."""
    cells.sort()
    ends = _ends(cells)
    return cells[ends], np.diff(ends, prepend=-1)


def _sum_equal(cells: Cells, counts: Counts) -> tuple[Cells, Counts]:
    """Sum the counts of equal cells, which ascend."""
    ends = _ends(cells)
    return cells[ends], np.diff(np.cumsum(counts)[ends], prepend=0)


def _ends(cells: Cells) -> npt.NDArray[np.intp]:
    """Find where runs of equal cells end."""
    is_end = np.ones(len(cells), dtype=np.bool_)
    np.not_equal(cells[1:], cells[:-1], out=is_end[:-1])
    return np.flatnonzero(is_end)


def _to_keys(values: npt.NDArray[np.float32]) -> Cells:
    """Map values to unsigned integers of the same order: the bits, the negative ones inverted."""
    bits = (values + np.float32(0)).view(np.int32)  # + 0: no negative zero
    keys: Cells = (bits ^ ((bits >> 31) | _LOWEST)).view(np.uint32)
    return keys


def _to_values(keys: Cells) -> npt.NDArray[np.float32]:
    return np.where(keys & _SIGN, keys ^ _SIGN, ~keys).view(np.float32)
