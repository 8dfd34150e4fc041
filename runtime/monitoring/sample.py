"""Sample rows, independently of the blocks that they come in."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from runtime.schema.features import Float32Matrix

    Keys = npt.NDArray[np.uint64]

_FIBONACCI: Final = np.uint64(0x9E3779B97F4A7C15)  # 2**64 / golden ratio, a hash's multiplier
_MAX_KEY: Final = 2**64 - 1


class RowSample:
    """Samples rows by a hash of their number; keeps ``capacity`` / 2 to ``capacity`` of many."""

    def __init__(self, capacity: int, n_features: int) -> None:
        """Start with no rows."""
        self._capacity = capacity
        self._max_key = _MAX_KEY  # inclusive
        self._size = 0
        self._keys: list[Keys] = []
        self._rows: list[Float32Matrix] = [np.empty((0, n_features), dtype=np.float32)]

    def add(self, features: Float32Matrix, records: npt.NDArray[np.int64]) -> None:
        """Add rows with their record numbers."""
        for start in range(0, len(records), self._capacity):
            chunk = slice(start, start + self._capacity)
            keys = records[chunk].astype(np.uint64) * _FIBONACCI
            sampled = np.flatnonzero(keys <= np.uint64(self._max_key))
            if len(sampled):
                self._keys.append(keys[sampled])
                self._rows.append(features[chunk][sampled])
                self._size += len(sampled)
            if self._size > self._capacity:
                self._downsample()

    def rows(self) -> Float32Matrix:
        """Get the sample, ``(kept, n_features)`` float32, in any order."""
        return np.concatenate(self._rows)

    def _downsample(self) -> None:
        """Halve the largest key until the rows fit."""
        keys = np.concatenate(self._keys)
        kept = np.ones(len(keys), dtype=np.bool_)
        while np.count_nonzero(kept) > self._capacity:
            self._max_key >>= 1
            kept = keys <= np.uint64(self._max_key)
        self._keys, self._rows = [keys[kept]], [self.rows()[kept]]
        self._size = len(self._keys[0])
