"""Encode Arrow arrays of any type as JSON, a column at once.

Numbers have the fewest digits that round-trip; NaN and infinities are null. Times and decimals are
strings in Arrow's format. Bytes that are not UTF-8 are kept.
"""

from __future__ import annotations

from contextlib import suppress
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
    number_array,
    number_scalar,
    number_values,
    value_bytes,
)
from runtime.tables.arrow_text import format_uuids, is_text, is_uuid, plain_text
from runtime.tables.jsonl.records import encode_text

if TYPE_CHECKING:
    from collections.abc import Sequence

_ZERO = number_scalar(np.int32(0))
_NULL = binary_scalar(b"null")
_COMMA = binary_scalar(b", ")  # pyarrow imports pandas to wrap a bare value
_FALSE = bool_scalar(False)


def encode_records(batch: pa.RecordBatch) -> memoryview:
    """Encode a batch as JSON Lines, keys in the order of its columns."""
    if not batch.num_columns:
        return memoryview(b"{}\n" * batch.num_rows)
    return join_members(batch.schema.names, [encode_values(column) for column in batch.columns])


def join_members(names: Sequence[str], members: Sequence[pa.Array]) -> memoryview:
    """Encode JSON Lines of members, ``(records,)`` binary of JSON a key."""
    return value_bytes(join(*_object(names, members), b"\n"))


def join(*parts: pa.Array | bytes) -> pa.Array:
    """Concatenate the parts of each row: ``(rows,)`` binary each, or one value for all rows."""
    scalars = [binary_scalar(part) if isinstance(part, bytes) else part for part in parts]
    return pc.binary_join_element_wise(*scalars, binary_scalar(b""))


def encode_values(values: pa.Array) -> pa.Array:
    """Encode each value as JSON: ``(rows,)`` binary, no nulls."""
    written = _encode(values)
    if values.null_count:
        written = pc.if_else(pc.is_valid(values), written, _NULL)
    return pc.fill_null(written, _NULL)


def _encode(values: pa.Array) -> pa.Array:  # noqa: C901, PLR0911 - one branch a type
    """Encode values; the result for a null is not used."""
    kind = values.type
    if is_uuid(kind):
        return join(b'"', format_uuids(values), b'"')
    if isinstance(kind, pa.BaseExtensionType):
        return _encode(values.storage)
    if kinds.is_floating(kind):
        wide = pc.cast(values, pa.float32()) if kinds.is_float16(kind) else values
        return pc.if_else(pc.is_finite(wide), plain_text(wide), _NULL)
    if kinds.is_integer(kind) or kinds.is_boolean(kind):
        return plain_text(values)
    if is_text(kind):
        return _quote(pc.cast(values, pa.binary()))
    if kinds.is_dictionary(kind):
        return encode_values(values.dictionary).take(values.indices)
    if kinds.is_temporal(kind) or kinds.is_decimal(kind):
        with suppress(pa.ArrowNotImplementedError, pa.ArrowInvalid):
            return join(b'"', plain_text(values), b'"')
    if kinds.is_struct(kind) and kind.num_fields:
        members = [encode_values(field) for field in values.flatten()]
        return join(*_object([field.name for field in kind], members))
    if kinds.is_map(kind):
        return _encode_maps(values)
    if hasattr(values, "flatten") and kinds.is_nested(kind) and not kinds.is_struct(kind):
        return join(b"[", _gather(values, encode_values(values.flatten())), b"]")
    texts = [msgspec.json.encode(value, enc_hook=str) for value in values.to_pylist()]
    return binary_array(texts)


def _object(names: Sequence[str], members: Sequence[pa.Array]) -> list[pa.Array | bytes]:
    """Return the parts of objects with at least one member, to be joined."""
    parts: list[pa.Array | bytes] = []
    for name, texts in zip(names, members, strict=True):
        parts += [(b", " if parts else b"{") + encode_text(name) + b": ", texts]
    return [*parts, b"}"]


def _quote(texts: pa.Array) -> pa.Array:
    """Encode strings, escaped where necessary."""
    if pc.any(pc.match_substring_regex(texts, rb'["\\\x00-\x1f]')).as_py():
        controls = pc.fill_null(pc.match_substring_regex(texts, rb"[\x00-\x1f]"), _FALSE)
        rare = [
            text.decode(errors="surrogateescape") for text in texts.filter(controls).to_pylist()
        ]
        texts = pc.replace_substring(pc.replace_substring(texts, b"\\", b"\\\\"), b'"', b'\\"')
        escaped = binary_array([encode_text(text)[1:-1] for text in rare])
        texts = pc.replace_with_mask(texts, controls, escaped)
    return join(b'"', texts, b'"')


def _encode_maps(values: pa.Array) -> pa.Array:
    """Encode maps as objects, keys as strings."""
    kind = values.type
    entries = pa.list_(pa.struct([("key", kind.key_type), ("value", kind.item_type)]))
    lists = pc.cast(values, entries)
    keys, items = lists.flatten().flatten()
    written = encode_values(keys)
    if not is_text(kind.key_type):
        written = pc.if_else(pc.starts_with(written, b'"'), written, _quote(written))
    return join(b"{", _gather(lists, join(written, b": ", encode_values(items))), b"}")


def _gather(lists: pa.Array, items: pa.Array) -> pa.Array:
    """Join the items of each list; ``items`` has none of null lists."""
    lengths = pc.fill_null(pc.cast(pc.list_value_length(lists), pa.int32()), _ZERO)
    bounds = np.append(0, np.cumsum(number_values(lengths))).astype(np.int32)
    return pc.binary_join(pa.ListArray.from_arrays(number_array(bounds), items), _COMMA)
