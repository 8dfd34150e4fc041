"""Format values of any Arrow type as text, the same in every output format."""

from __future__ import annotations

import pyarrow as pa

from runtime.tables.arrow_text import format_uuids, is_text, is_uuid, plain_text


def cell_texts(column: pa.Array) -> pa.Array:
    """Format each value as text, ``(rows,)`` binary.

    Numbers are in the fewest digits that parse to the same number, booleans ``true`` and
    ``false``, dates and times in ISO 8601, nested values in JSON.
    """
    data_type, types = column.type, pa.types
    if types.is_dictionary(data_type):
        return cell_texts(column.dictionary).take(column.indices)
    if types.is_binary(data_type):
        return column
    if isinstance(data_type, pa.BaseExtensionType):
        return format_uuids(column) if is_uuid(data_type) else cell_texts(column.storage)
    if is_text(data_type):
        return column.cast(pa.binary())
    if (
        types.is_nested(data_type)
        or types.is_interval(data_type)
        or types.is_run_end_encoded(data_type)
    ):
        import pyarrow.compute as pc

        from runtime.tables.jsonl.values import encode_values

        return pc.if_else(pc.is_valid(column), encode_values(column), pa.nulls(1, pa.binary())[0])
    return plain_text(column)


def pack_text(text: str) -> bytes:
    """Encode text with surrogates for a table's undecodable bytes."""
    return text.encode("utf-8", "surrogatepass")


def unpack_text(packed: bytes) -> str:
    """Decode the result of ``pack_text``."""
    return packed.decode("utf-8", "surrogatepass")
