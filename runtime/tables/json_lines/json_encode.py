"""Write arrays of any type as JSON text, a whole column at once.

Numbers take the fewest digits that read back, NaN and the infinities are null (JSON has none),
texts are escaped where they have to be and keep bytes that are no UTF-8. Dates, times and decimals
are strings as Arrow writes them, lists are arrays, structs and maps are objects.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as kinds

from runtime.tables.arrays import (
    binary_array,
    binary_scalar,
    bool_scalar,
    format_uuids,
    is_list,
    is_text,
    is_uuid,
    join_parts,
    number_scalar,
    number_values,
    value_bytes,
)
from runtime.tables.json_lines.json_keys import encode_text
from runtime.tables.text import plain_text

if TYPE_CHECKING:
    from collections.abc import Sequence

_NULL, _QUOTE = b"null", b'"'
_TO_ESCAPE = rb'["\\\x00-\x1f]'
_ESCAPES = ((b"\\", b"\\\\"), (b'"', b'\\"'), (b"\n", b"\\n"), (b"\r", b"\\r"), (b"\t", b"\\t"))


def encode_records(batch: pa.RecordBatch) -> memoryview:
    """Write a batch as JSON Lines.

    Args:
        batch: ``(records,)`` of any columns.

    Returns:
        One object a line, keys in the batch's order.
    """
    if not batch.num_columns:
        return memoryview(b"{}\n" * batch.num_rows)
    return join_members(batch.schema.names, [encode_values(column) for column in batch.columns])


def join_members(names: Sequence[str], members: Sequence[pa.Array]) -> memoryview:
    """Write records of members that are JSON text already.

    Args:
        names: the keys, at least one.
        members: ``(records,)`` binary a key, no nulls.

    Returns:
        One object a line, keys in this order.
    """
    fields: list[pa.Array | pa.Scalar] = []
    for name, texts in zip(names, members, strict=True):
        lead = b", " if fields else b"{"
        fields += [binary_scalar(lead + encode_text(name) + b": "), texts]
    return value_bytes(join_parts(*fields, binary_scalar(b"}\n")))


def encode_values(values: pa.Array) -> pa.Array:
    """Write each value as JSON text.

    Args:
        values: ``(rows,)`` of any type.

    Returns:
        ``(rows,)`` binary, no nulls.
    """
    written = _encode_present(values)
    if values.null_count or kinds.is_null(values.type):
        written = pc.if_else(pc.is_valid(values), written, binary_scalar(_NULL))
    return pc.fill_null(written, binary_scalar(_NULL))


def _encode_present(values: pa.Array) -> pa.Array:  # noqa: C901, PLR0911 - one way a kind
    """Write values; what is written for a null means nothing."""
    kind = values.type
    if is_uuid(kind):
        return _wrap(_QUOTE, format_uuids(values), _QUOTE)
    if isinstance(kind, pa.BaseExtensionType):
        return _encode_present(values.storage)
    if kinds.is_null(kind):
        return pa.nulls(len(values), pa.binary())
    if kinds.is_floating(kind):
        wide = pc.cast(values, pa.float32()) if kinds.is_float16(kind) else values
        return pc.if_else(pc.is_finite(wide), plain_text(wide), binary_scalar(_NULL))
    if kinds.is_integer(kind) or kinds.is_boolean(kind):
        return plain_text(values)
    if is_text(kind):
        return _encode_texts(pc.cast(values, pa.binary()))
    if kinds.is_dictionary(kind):
        return encode_values(values.dictionary).take(values.indices)
    if kinds.is_temporal(kind) or kinds.is_decimal(kind):
        return _encode_dated(values)
    if kinds.is_struct(kind) and kind.num_fields:
        names = [encode_text(kind.field(position).name) for position in range(kind.num_fields)]
        return _encode_structs(names, [encode_values(field) for field in values.flatten()])
    if kinds.is_map(kind):
        return _encode_maps(values)
    if is_list(kind):
        return _wrap(b"[", _gather(values, encode_values(values.flatten())), b"]")
    return _encode_singly(values)


def _encode_texts(texts: pa.Array) -> pa.Array:
    """Quote ``(rows,)`` binary, escaped where a text needs it."""
    dirty = pc.fill_null(pc.match_substring_regex(texts, _TO_ESCAPE), bool_scalar(False))
    if pc.any(dirty).as_py():
        for plain, escape in _ESCAPES:
            texts = pc.replace_substring(texts, plain, escape)
        rare = pc.fill_null(pc.match_substring_regex(texts, rb"[\x00-\x1f]"), bool_scalar(False))
        if pc.any(rare).as_py():
            mended = [_escape_controls(text) for text in texts.filter(rare).to_pylist()]
            texts = pc.replace_with_mask(texts, rare, binary_array(mended))
    return _wrap(_QUOTE, texts, _QUOTE)


def _escape_controls(text: bytes) -> bytes:
    return b"".join(b"\\u%04x" % byte if byte < ord(" ") else bytes((byte,)) for byte in text)


def _encode_dated(values: pa.Array) -> pa.Array:
    """Write times and decimals as strings, as Arrow does."""
    try:
        return _wrap(_QUOTE, plain_text(values), _QUOTE)
    except (pa.ArrowNotImplementedError, pa.ArrowInvalid):
        return _encode_singly(values)


def _encode_structs(names: Sequence[bytes], fields: Sequence[pa.Array]) -> pa.Array:
    parts: list[pa.Array | pa.Scalar] = []
    for name, field in zip(names, fields, strict=True):
        parts += [binary_scalar((b", " if parts else b"") + name + b": "), field]
    return _wrap(b"{", join_parts(*parts), b"}")


def _encode_maps(values: pa.Array) -> pa.Array:
    """Write maps as objects; a key that is no text is written as text."""
    kind = values.type
    entries = pa.list_(pa.struct([("key", kind.key_type), ("value", kind.item_type)]))
    lists = pc.cast(values, entries)
    keys, items = lists.flatten().flatten()
    written = encode_values(keys)
    if not is_text(kind.key_type):
        bare = pc.starts_with(written, _QUOTE)
        written = pc.if_else(bare, written, _encode_texts(written))
    pairs = join_parts(written, binary_scalar(b": "), encode_values(items))
    return _wrap(b"{", _gather(lists, pairs), b"}")


def _gather(lists: pa.Array, written: pa.Array) -> pa.Array:
    """Join the written items of each list, those of null lists left out before."""
    lengths = number_values(
        pc.fill_null(pc.cast(pc.list_value_length(lists), pa.int32()), number_scalar(np.int32(0)))
    )
    bounds = np.append(0, np.cumsum(lengths)).astype(np.int32)
    offsets = pa.Array.from_buffers(pa.int32(), len(bounds), [None, pa.py_buffer(bounds)])
    return pc.binary_join(pa.ListArray.from_arrays(offsets, written), binary_scalar(b", "))


def _encode_singly(values: pa.Array) -> pa.Array:
    """Write what no kernel of Arrow writes."""
    return binary_array([msgspec.json.encode(value, enc_hook=str) for value in values.to_pylist()])


def _wrap(before: bytes, values: pa.Array, after: bytes) -> pa.Array:
    return join_parts(binary_scalar(before), values, binary_scalar(after))
