"""Values of Arrow's flat types as text, and which types are text."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.types as kinds

from runtime.tables.arrays import (
    binary_array,
    binary_scalar,
    bool_array,
    split_bytes,
    value_bytes,
)

_HEXADECIMAL = np.frombuffer(b"0123456789abcdef", dtype=np.uint8)
# Where the two digits of each byte of a UUID stand: hyphens come after 4, 6, 8 and 10 bytes.
_UUID_HIGH = np.array([2 * at + sum(at >= cut for cut in (4, 6, 8, 10)) for at in range(16)])
_UUID_LOW = _UUID_HIGH + 1
_FORMATTED = ("-32000-01-01", "32000-01-01")  # Arrow formats years to 32767, in any zone


def is_text(kind: pa.DataType) -> bool:
    """Check whether values of a type are texts or bytes."""
    return bool(
        kinds.is_string(kind)
        or kinds.is_large_string(kind)
        or kinds.is_string_view(kind)
        or kinds.is_binary(kind)
        or kinds.is_large_binary(kind)
        or kinds.is_binary_view(kind)
        or kinds.is_fixed_size_binary(kind)
    )


def is_uuid(kind: pa.DataType) -> bool:
    """Check whether values of a type are UUIDs, as DuckDB stores them in Parquet."""
    return isinstance(kind, pa.BaseExtensionType) and kind.extension_name == "arrow.uuid"


def format_uuids(values: pa.Array) -> pa.Array:
    """Format UUIDs in the 36 characters of RFC 9562: ``(rows,)`` binary, null for null."""
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


def plain_text(column: pa.Array) -> pa.Array:
    """Format numbers, booleans, times and decimals as Arrow does, ``(rows,)`` binary.

    Times of a time zone that is not installed are written in UTC.
    """
    try:
        texts = column.cast(pa.string()).cast(pa.binary())
    except pa.ArrowInvalid:
        if not kinds.is_timestamp(column.type):
            raise
        return plain_text(column.cast(pa.timestamp(column.type.unit, "UTC")))
    if kinds.is_date(column.type) or kinds.is_timestamp(column.type):
        return _format_far_years(column, texts)
    return texts


def _format_far_years(column: pa.Array, texts: pa.Array) -> pa.Array:
    """Format dates and timestamps in UTC whose years Arrow does not format, beyond 32767."""
    kind = column.type
    days = kinds.is_date32(kind)
    unit = "D" if days else "ms" if kinds.is_date64(kind) else kind.unit
    if unit == "ns":
        return texts
    whole = column.cast(pa.int32() if days else pa.int64()).fill_null(0).to_numpy()
    instants = whole.astype(f"datetime64[{unit}]")
    first, last = np.array(_FORMATTED, dtype=instants.dtype)
    is_far = (instants < first) | (instants > last)
    if not is_far.any():
        return texts
    import pyarrow.compute as pc

    far = instants[is_far].astype("datetime64[D]") if kinds.is_date(kind) else instants[is_far]
    zone = "Z" if getattr(kind, "tz", None) else ""
    written = [text.replace("T", " ") + zone for text in np.datetime_as_string(far).tolist()]
    cells = binary_array([text.encode() for text in written])
    return pc.replace_with_mask(texts, bool_array(is_far), cells)
