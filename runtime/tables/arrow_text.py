"""Arrow's kernels for texts, as the writers and readers of JSON use them: on bytes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.types as kinds

from runtime.tables.arrow import binary_scalar, split_bytes, whole_bytes

if TYPE_CHECKING:
    import numpy.typing as npt

_HEXADECIMAL = np.frombuffer(b"0123456789abcdef", dtype=np.uint8)
# Where the two digits of each byte of a UUID stand: hyphens come after 4, 6, 8 and 10 bytes.
_UUID_HIGH = np.array([2 * at + sum(at >= cut for cut in (4, 6, 8, 10)) for at in range(16)])
_UUID_LOW = _UUID_HIGH + 1


def join_parts(*parts: pa.Array | pa.Scalar) -> pa.Array:
    """Put the parts of each row side by side.

    Args:
        *parts: ``(rows,)`` binary each, or one value for all rows.

    Returns:
        ``(rows,)`` binary; null where a part is.
    """
    import pyarrow.compute as pc

    return pc.binary_join_element_wise(*parts, binary_scalar(b""))


def counts_of(array: pa.Array) -> npt.NDArray[np.int32]:
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
    digits = np.frombuffer(whole_bytes(whole), dtype=np.uint8).reshape(-1, 16)
    text = np.full((len(digits), 36), ord("-"), dtype=np.uint8)
    text[:, _UUID_HIGH] = _HEXADECIMAL[digits >> 4]
    text[:, _UUID_LOW] = _HEXADECIMAL[digits & 15]
    bounds = np.arange(0, text.size + 1, 36, dtype=np.int32)
    return pc.if_else(valid, split_bytes(text.tobytes(), bounds), pa.nulls(1, pa.binary())[0])
