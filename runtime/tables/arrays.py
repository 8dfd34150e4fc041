"""Cross between numpy and Arrow memory without copying, and Arrow's kernels for binary text."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.types as kinds

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


def filter_rows(column: pa.Array, kept: npt.NDArray[np.bool_]) -> pa.Array:
    """Take some rows of a column."""
    try:
        return column.filter(bool_array(kept))
    except pa.ArrowNotImplementedError:
        edges = np.flatnonzero(np.diff(kept, prepend=False, append=False)).tolist()
        runs = [column.slice(at, end - at) for at, end in zip(edges[::2], edges[1::2], strict=True)]
        return pa.concat_arrays(runs or [column.slice(0, 0)])


def value_bytes(array: pa.Array) -> memoryview:
    """View the values of a binary array end to end."""
    bounds = np.frombuffer(array.buffers()[1], dtype=np.int32)
    data = memoryview(array.buffers()[2] or b"")
    return data[bounds[array.offset] : bounds[array.offset + len(array)]]


_HEXADECIMAL = np.frombuffer(b"0123456789abcdef", dtype=np.uint8)
# Where the two digits of each byte of a UUID stand: hyphens come after 4, 6, 8 and 10 bytes.
_UUID_HIGH = np.array([2 * at + sum(at >= cut for cut in (4, 6, 8, 10)) for at in range(16)])
_UUID_LOW = _UUID_HIGH + 1


def join_parts(*parts: pa.Array | pa.Scalar) -> pa.Array:
    """Put the parts of each row side by side."""
    import pyarrow.compute as pc

    return pc.binary_join_element_wise(*parts, binary_scalar(b""))


def number_values(array: pa.Array) -> npt.NDArray[np.int32]:
    """View counts or lengths that a kernel gave: ``(rows,)`` int32, no nulls."""
    values = np.frombuffer(array.buffers()[1] or b"", dtype=np.int32)
    return values[array.offset : array.offset + len(array)]


def as_text(values: pa.Array) -> pa.Array:
    """Call bytes a text, whether they decode or not: ``(rows,)`` string."""
    import pyarrow.compute as pc

    return pc.cast(values, options=pc.CastOptions(target_type=pa.string(), allow_invalid_utf8=True))


def is_text(kind: pa.DataType) -> bool:
    """Say whether values of a type are texts or bytes."""
    return bool(
        kinds.is_string(kind)
        or kinds.is_large_string(kind)
        or kinds.is_string_view(kind)
        or kinds.is_binary(kind)
        or kinds.is_large_binary(kind)
        or kinds.is_binary_view(kind)
        or kinds.is_fixed_size_binary(kind)
    )


def is_list(kind: pa.DataType) -> bool:
    """Say whether values of a type are lists of any layout."""
    return bool(
        kinds.is_list(kind)
        or kinds.is_large_list(kind)
        or kinds.is_fixed_size_list(kind)
        or kinds.is_list_view(kind)
        or kinds.is_large_list_view(kind)
    )


def is_uuid(kind: pa.DataType) -> bool:
    """Say whether values of a type are UUIDs, as DuckDB stores them in Parquet."""
    return isinstance(kind, pa.BaseExtensionType) and kind.extension_name == "arrow.uuid"


def write_uuids(values: pa.Array) -> pa.Array:
    """Write UUIDs in the 36 characters of RFC 9562: ``(rows,)`` binary, null for null."""
    import pyarrow.compute as pc

    stored = pc.cast(values.storage, pa.binary())
    valid = pc.is_valid(stored)
    whole = pc.fill_null(stored, binary_scalar(bytes(16)))
    digits = np.frombuffer(value_bytes(whole), dtype=np.uint8).reshape(-1, 16)
    text = np.full((len(digits), 36), ord("-"), dtype=np.uint8)
    text[:, _UUID_HIGH] = _HEXADECIMAL[digits >> 4]
    text[:, _UUID_LOW] = _HEXADECIMAL[digits & 15]
    bounds = np.arange(0, text.size + 1, 36, dtype=np.int32)
    return pc.if_else(valid, split_bytes(text.tobytes(), bounds), pa.nulls(1, pa.binary())[0])
