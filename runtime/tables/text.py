"""Values of any Arrow type as text, the same text in every format."""

from __future__ import annotations

import pyarrow as pa

from runtime.tables.arrow_text import is_text, is_uuid, plain_text, write_uuids


def cell_texts(column: pa.Array) -> pa.Array:
    """Write each value as text, as ``as_text`` does, those of a dictionary too."""
    if pa.types.is_dictionary(column.type):
        return cell_texts(column.dictionary).take(column.indices)
    return as_text(column)


def as_text(column: pa.Array) -> pa.Array:
    """Write each value as text.

    Numbers in the fewest digits that read back as the same number, booleans as ``true`` and
    ``false``, dates and times in ISO 8601, nested values as JSON.
    """
    kind = column.type
    if pa.types.is_binary(kind):
        return column
    if is_uuid(kind):
        return write_uuids(column)
    if isinstance(kind, pa.BaseExtensionType):
        return as_text(column.storage)
    if is_text(kind):
        return column.cast(pa.binary())
    if pa.types.is_nested(kind) or pa.types.is_interval(kind) or pa.types.is_run_end_encoded(kind):
        import pyarrow.compute as pc

        from runtime.tables.jsonl.values import encode_values

        return pc.if_else(pc.is_valid(column), encode_values(column), pa.nulls(1, pa.binary())[0])
    return plain_text(column)


def pack_text(text: str) -> bytes:
    """Pack text that may hold undecodable bytes of a table, as surrogates, into binary."""
    return text.encode("utf-8", "surrogatepass")


def unpack_text(packed: bytes) -> str:
    """Undo ``pack_text``."""
    return packed.decode("utf-8", "surrogatepass")
