"""Exact values with how far a correct evaluation may be from each, and sums over their rows.

In: float64 matrices. Out: an ``Enclosure``. No errors.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import reduce

import numpy as np
import numpy.typing as npt

Float64Matrix = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]

# Up to here a loop over columns is several times faster than a reduction of short rows.
FEW_COLUMNS = 16


@dataclass(frozen=True)
class Enclosure:
    """Oracle values and how far a correct evaluation may be from each.

    Attributes:
        value: ``(rows, columns)`` float64; NaN and infinities where the inputs bring them.
        error: ``(rows, columns)`` float64, never NaN. 0 where the value is not finite: such a
            value must be met exactly. Infinite where nothing is promised, because the
            evaluation may overflow on the way.
    """

    value: Float64Matrix
    error: Float64Matrix


def rows_with_all(mask: Mask) -> Mask:
    """Find the rows of ``(rows, columns)`` that are true in every column, ``(rows,)``."""
    if mask.shape[1] > FEW_COLUMNS:
        return np.asarray(mask.all(axis=1))
    every = np.ones(len(mask), np.bool_)  # (rows,)
    for column in mask.T:
        every &= column
    return every


def row_sums(terms: Float64Matrix) -> Float64Matrix:
    """Sum each row of ``(rows, columns)``, ``(rows, 1)``."""
    if terms.shape[1] > FEW_COLUMNS:
        return np.asarray(terms.sum(axis=1, keepdims=True))
    return np.asarray(reduce(np.add, terms.T)[:, None])
