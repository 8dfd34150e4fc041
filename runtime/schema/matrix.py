"""Round features to the float32 matrix that a model reads; no other module rounds them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy.typing as npt

    from runtime.schema.features import Float32Matrix, Schema


def usable_values(schema: Schema, inputs: Float32Matrix) -> npt.NDArray[np.bool_]:
    """Mark values that the model accepts: finite ones, and NaN in imputed inputs."""
    usable = np.isfinite(inputs)
    if not usable.all():
        imputed = list(schema.imputed_inputs)
        usable[:, imputed] |= np.isnan(inputs[:, imputed])
    return usable


def mark_missing(inputs: Float32Matrix, numbers: Mapping[int, Sequence[float]]) -> Float32Matrix:
    """Replace numbers that mean a missing value by NaN; ``numbers`` are those by column."""
    if not numbers:
        return inputs
    marked = inputs.copy()
    for column, each in numbers.items():
        marked[np.isin(inputs[:, column], round_rows(np.array(each))), column] = np.nan
    return marked


def to_float32(columns: Sequence[npt.NDArray[np.float64]]) -> Float32Matrix:
    """Round columns to float32; values out of its range become infinite."""
    matrix = np.empty((len(columns[0]), len(columns)), dtype=np.float32)
    with np.errstate(over="ignore"):
        for position, column in enumerate(columns):
            matrix[:, position] = column
    return matrix


def round_rows(rows: npt.NDArray[np.float32] | npt.NDArray[np.float64]) -> Float32Matrix:
    """Round rows to float32, as ``to_float32`` rounds columns."""
    with np.errstate(over="ignore"):
        return np.ascontiguousarray(rows, dtype=np.float32)
