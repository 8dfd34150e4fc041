"""Cross between numpy and Arrow memory without copying, and Arrow's kernels for binary text."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt


def number_array(values: npt.NDArray[Any]) -> pa.Array:
    """View numbers as an Arrow array."""
    kind = pa.from_numpy_dtype(values.dtype)
    return pa.Array.from_buffers(kind, len(values), [None, pa.py_buffer(values)])


def bool_array(values: npt.NDArray[np.bool_]) -> pa.Array:
    """Pack ``(rows,)`` bool into an Arrow array of bits."""
    bits = np.packbits(values, bitorder="little")
    return pa.Array.from_buffers(pa.bool_(), len(values), [None, pa.py_buffer(bits)])


def binary_array(values: Sequence[bytes]) -> pa.Array:
    """Lay values end to end as a binary Arrow array."""
    bounds = np.zeros(len(values) + 1, dtype=np.int32)
    np.cumsum([len(value) for value in values], out=bounds[1:])
    return split_bytes(b"".join(values), bounds)


def text_array(values: Sequence[str]) -> pa.Array:
    """Lay texts end to end as a string Arrow array."""
    array = binary_array([value.encode() for value in values])
    return pa.Array.from_buffers(pa.string(), len(array), array.buffers())


def binary_scalar(value: bytes) -> pa.Scalar:
    """Wrap one value for the compute functions."""
    return binary_array([value])[0]


def bool_scalar(value: bool) -> pa.Scalar:  # noqa: FBT001 - it is the value itself
    """Wrap a truth value for the compute functions."""
    return bool_array(np.array([value]))[0]


def number_scalar(value: np.number[Any]) -> pa.Scalar:
    """Wrap a number for the compute functions, as the type that it has."""
    return number_array(np.array([value]))[0]


def split_bytes(data: bytes, bounds: npt.NDArray[np.int32]) -> pa.Array:
    """View pieces of ``data`` as a binary Arrow array."""
    return pa.Array.from_buffers(
        pa.binary(), len(bounds) - 1, [None, pa.py_buffer(bounds), pa.py_buffer(data)]
    )


def number_values(array: pa.Array) -> npt.NDArray[Any]:
    """View numbers without nulls as ``(rows,)`` of numpy's same type."""
    values = np.frombuffer(array.buffers()[1] or b"", dtype=array.type.to_pandas_dtype())
    return values[array.offset : array.offset + len(array)]


def float64_values(column: pa.ChunkedArray) -> npt.NDArray[np.float64]:
    """View a column as numbers."""
    array = column.combine_chunks()
    values = np.frombuffer(array.buffers()[1] or b"", dtype=np.float64)
    return values[array.offset : array.offset + len(array)]


def keep_rows(column: pa.Array, kept: npt.NDArray[np.bool_]) -> pa.Array:
    """Take some rows of a column."""
    try:
        return column.filter(bool_array(kept))
    except pa.ArrowNotImplementedError:
        edges = np.flatnonzero(np.diff(kept, prepend=False, append=False)).tolist()
        runs = [column.slice(at, end - at) for at, end in zip(edges[::2], edges[1::2], strict=True)]
        return pa.concat_arrays(runs or [column.slice(0, 0)])


def whole_bytes(array: pa.Array) -> memoryview:
    """View the values of a binary array end to end."""
    bounds = np.frombuffer(array.buffers()[1], dtype=np.int32)
    data = memoryview(array.buffers()[2] or b"")
    return data[bounds[array.offset] : bounds[array.offset + len(array)]]
