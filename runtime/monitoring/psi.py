"""The population stability index, and a deterministic sample of rows in constant memory."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from collections.abc import Sequence

    from runtime.schema.features import Float32Matrix

    Keys = npt.NDArray[np.uint64]


SMALLEST_SHARE: Final = 1e-4
FEWEST_ROWS: Final = 200
SHIFTED_FROM: Final = 0.1
DRIFTED_ABOVE: Final = 0.25

PsiReading = Literal["stable", "shifted", "drifted", "too few rows"]


def population_stability_index(training: Sequence[float], scored: Sequence[float]) -> float:
    """Compute the population-stability index."""
    expected, actual = np.maximum(training, SMALLEST_SHARE), np.maximum(scored, SMALLEST_SHARE)
    return float(np.sum((actual - expected) * np.log(actual / expected)))


def interpret_psi(psi: float | None, rows: int) -> PsiReading:
    """Say what an index is usually taken to mean."""
    if psi is None or rows < FEWEST_ROWS:
        return "too few rows"
    if psi < SHIFTED_FROM:
        return "stable"
    return "shifted" if psi <= DRIFTED_ABOVE else "drifted"


_GOLDEN = np.uint64(0x9E3779B97F4A7C15)  # 2**64 divided by the golden ratio, odd
_ALL = 2**64 - 1


class RowSample:
    """At most ``capacity`` rows; more than half as many once there were more to choose from."""

    def __init__(self, capacity: int, n_features: int) -> None:
        """Start with no rows."""
        self._capacity = capacity
        self._limit = _ALL  # of a row's key, inclusive
        self._size = 0
        self._keys: list[Keys] = []
        self._rows: list[Float32Matrix] = [np.empty((0, n_features), dtype=np.float32)]

    def add(self, features: Float32Matrix, records: npt.NDArray[np.int64]) -> None:
        """Offer rows."""
        for start in range(0, len(records), self._capacity):
            piece = slice(start, start + self._capacity)
            keys = records[piece].astype(np.uint64) * _GOLDEN
            chosen = np.flatnonzero(keys <= np.uint64(self._limit))
            if len(chosen):
                self._keys.append(keys[chosen])
                self._rows.append(features[piece][chosen])
                self._size += len(chosen)
            if self._size > self._capacity:
                self._thin()

    def rows(self) -> Float32Matrix:
        """Give the rows kept, ``(kept, n_features)`` float32, in no promised order."""
        return np.concatenate(self._rows)

    def _thin(self) -> None:
        """Halve the limit until the rows fit."""
        keys = np.concatenate(self._keys)
        kept = np.ones(len(keys), dtype=np.bool_)
        while np.count_nonzero(kept) > self._capacity:
            self._limit >>= 1
            kept = keys <= np.uint64(self._limit)
        self._keys, self._rows = [keys[kept]], [self.rows()[kept]]
        self._size = len(self._keys[0])
