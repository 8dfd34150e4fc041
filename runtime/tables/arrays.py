"""Convert between numpy and Arrow without copying; the Arrow types of the added columns."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pyarrow as pa

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

LABEL: Final = pa.dictionary(pa.int32(), pa.string())
REASON: Final = pa.dictionary(pa.int32(), pa.binary())  # see ``runtime.tables.text.pack_text``
PROBABILITY: Final = pa.float32()
# ``DataType.to_pandas_dtype`` imports pandas before pyarrow 26.
_DTYPES: Final = {pa.from_numpy_dtype(code): np.dtype(code) for code in "bhilqBHILQefd"}


def number_array(values: npt.NDArray[Any]) -> pa.Array:
    """View numbers, ``(rows,)``, as an Arrow array."""
    data_type = pa.from_numpy_dtype(values.dtype)
    return pa.Array.from_buffers(data_type, len(values), [None, pa.py_buffer(values)])


def bool_array(values: npt.NDArray[np.bool_]) -> pa.Array:
    """Pack ``(rows,)`` bool into an Arrow array of bits."""
    bits = np.packbits(values, bitorder="little")
    return pa.Array.from_buffers(pa.bool_(), len(values), [None, pa.py_buffer(bits)])


def binary_array(values: Sequence[bytes]) -> pa.Array:
    """Build a binary Arrow array."""
    bounds = np.zeros(len(values) + 1, dtype=np.int32)
    np.cumsum([len(value) for value in values], out=bounds[1:])
    return split_bytes(b"".join(values), bounds)


def text_array(values: Sequence[str]) -> pa.Array:
    """Build a string Arrow array."""
    array = binary_array([value.encode() for value in values])
    return pa.Array.from_buffers(pa.string(), len(array), array.buffers())


def binary_scalar(value: bytes) -> pa.Scalar:
    """Build a binary scalar for compute functions."""
    return binary_array([value])[0]


def bool_scalar(value: bool) -> pa.Scalar:  # noqa: FBT001 - it is the value
    """Build a bool scalar for compute functions."""
    return bool_array(np.array([value]))[0]


def number_scalar(value: np.number[Any]) -> pa.Scalar:
    """Build a scalar of the number's type for compute functions."""
    return number_array(np.array([value]))[0]


def split_bytes(data: bytes, bounds: npt.NDArray[np.int32]) -> pa.Array:
    """View slices of ``data`` as a binary Arrow array; ``bounds`` is ``(rows + 1,)``."""
    return pa.Array.from_buffers(
        pa.binary(), len(bounds) - 1, [None, pa.py_buffer(bounds), pa.py_buffer(data)]
    )


def number_values(array: pa.Array) -> npt.NDArray[Any]:
    """View numbers without nulls as ``(rows,)`` of the same type in numpy."""
    values = np.frombuffer(array.buffers()[1] or b"", dtype=_DTYPES[array.type])
    return values[array.offset : array.offset + len(array)]


def float64_values(column: pa.ChunkedArray) -> npt.NDArray[np.float64]:
    """View a float64 column without nulls as ``(rows,)``."""
    return number_values(column.combine_chunks())


def bool_values(array: pa.Array | pa.ChunkedArray) -> npt.NDArray[np.bool_]:
    """Convert booleans without nulls to ``(rows,)`` bool."""
    bits = array.combine_chunks() if isinstance(array, pa.ChunkedArray) else array
    return number_values(bits.cast(pa.uint8())).astype(np.bool_)


def filter_rows(column: pa.Array, kept: npt.NDArray[np.bool_]) -> pa.Array:
    """Filter the rows of a column of any type."""
    try:
        return column.filter(bool_array(kept))
    except pa.ArrowNotImplementedError:
        edges = np.flatnonzero(np.diff(kept, prepend=False, append=False)).tolist()
        runs = zip(edges[::2], edges[1::2], strict=True)
        slices = [column.slice(start, end - start) for start, end in runs]
        return pa.concat_arrays(slices or [column.slice(0, 0)])


def value_bytes(array: pa.Array) -> memoryview:
    """View the concatenated values of a binary array."""
    bounds = np.frombuffer(array.buffers()[1], dtype=np.int32)
    data = memoryview(array.buffers()[2] or b"")
    return data[bounds[array.offset] : bounds[array.offset + len(array)]]
