"""The float32 matrix that a model reads: the one place where numbers are rounded to it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    from runtime.schema.features import Float32Matrix, Schema


def usable_values(schema: Schema, inputs: Float32Matrix) -> npt.NDArray[np.bool_]:
    """Tell which values a model may be given: finite ones, and NaN where it fills gaps."""
    usable = np.isfinite(inputs)
    if not usable.all():
        gaps = list(schema.gaps)
        usable[:, gaps] |= np.isnan(inputs[:, gaps])
    return usable


def to_float32(columns: Sequence[npt.NDArray[np.float64]]) -> Float32Matrix:
    """Round columns of float64 once to the float32 that the model reads.

    Here and in ``round_rows`` alone a feature's value is rounded. Values beyond float32's range
    become infinite; the caller has to look for them.
    """
    matrix = np.empty((len(columns[0]), len(columns)), dtype=np.float32)
    with np.errstate(over="ignore"):
        for position, column in enumerate(columns):
            matrix[:, position] = column
    return matrix


def round_rows(rows: npt.NDArray[np.float32] | npt.NDArray[np.float64]) -> Float32Matrix:
    """Round rows of float64 once, as ``to_float32`` rounds columns."""
    with np.errstate(over="ignore"):
        return np.ascontiguousarray(rows, dtype=np.float32)
