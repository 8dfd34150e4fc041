"""Values of any Arrow type as text, the same text wherever they are written."""

from __future__ import annotations

import pyarrow as pa

from runtime.tables.arrow import binary_array


def as_text(column: pa.Array) -> pa.Array:
    """Write each value as text.

    Numbers in the fewest digits that read back as the same number, booleans as ``true`` and
    ``false``, dates and times in ISO 8601, nested values as JSON.

    Args:
        column: ``(rows,)`` of any type but dictionaries.

    Returns:
        ``(rows,)`` binary, null for null. Text is UTF-8; binary values stay as they are.
    """
    kind = column.type
    if pa.types.is_binary(kind):
        return column
    import pyarrow.compute as pc

    if pa.types.is_nested(kind):
        texts = binary_array([_as_json(value) for value in column.to_pylist()])
        return pc.if_else(pc.is_valid(column), texts, pa.nulls(1, pa.binary())[0])
    if not pa.types.is_string(kind):
        column = pc.cast(column, pa.string() if not _is_bytes(kind) else pa.binary())
    return column.cast(pa.binary())


def _is_bytes(kind: pa.DataType) -> bool:
    return bool(
        pa.types.is_large_binary(kind)
        or pa.types.is_fixed_size_binary(kind)
        or pa.types.is_binary_view(kind)
    )


def _as_json(value: object) -> bytes:
    import json

    return json.dumps(value, separators=(",", ":"), ensure_ascii=False, default=str).encode()


def pack_text(text: str) -> bytes:
    """Pack text that may hold undecodable bytes of a table, as surrogates, into binary."""
    return text.encode("utf-8", "surrogatepass")


def unpack_text(packed: bytes) -> str:
    """Undo ``pack_text``."""
    return packed.decode("utf-8", "surrogatepass")
