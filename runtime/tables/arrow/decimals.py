"""Convert decimals to float64, rounded once as their text is; Arrow's cast rounds twice."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np
import pyarrow as pa

from runtime.tables.arrays import bool_values

if TYPE_CHECKING:
    import numpy.typing as npt

_MAX_WHOLE: Final = 2**53  # whole numbers up to it are exact in float64
_MAX_SCALE: Final = 22  # likewise powers of ten


def decimal_numbers(column: pa.Array) -> pa.Array:
    """Convert decimals of any width to float64, null for null."""
    if 0 <= column.type.scale <= _MAX_SCALE and len(column):
        whole, fits = _unscaled(column)
        if fits:  # one division, which is correctly rounded
            numbers = whole / np.float64(10**column.type.scale)
            mask = bool_values(column.is_null()) if column.null_count else None
            return pa.array(numbers, mask=mask)
    return column.cast(pa.string()).cast(pa.float64())


def _unscaled(column: pa.Array) -> tuple[npt.NDArray[np.float64], bool]:
    """Get the decimals without their point, ``(rows,)``, and whether all are exact in float64."""
    width = column.type.bit_width // 8
    stored = np.frombuffer(column.buffers()[1], dtype=f"<i{min(width, 8)}")
    words = stored.reshape(-1, max(width // 8, 1))[column.offset : column.offset + len(column)]
    low = words[:, 0].astype(np.int64)  # the others repeat its sign, where it is the whole number
    fits = (np.abs(low) <= _MAX_WHOLE).all() and (words[:, 1:] == (low >> 63)[:, None]).all()
    return low.astype(np.float64), bool(fits)
