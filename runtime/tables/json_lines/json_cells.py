"""Read the members of a block of JSON records: as numbers, or as the text of each value.

A clean block is decoded straight to numbers. Any other is read again as texts, which then are
cells as in every format; its doubtful records are read with care, one by one.
"""

from __future__ import annotations

import re
from operator import attrgetter
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from runtime.schema.matrix import to_float32
from runtime.tables.arrays import binary_array, bool_scalar
from runtime.tables.base import RowIssue
from runtime.tables.json_lines.json_decode import (
    REFUSED,
    decode_records,
    field_names,
    find_deep,
    is_one_a_line,
    members_decoder,
    numbers_decoder,
    tokens_decoder,
)
from runtime.tables.json_lines.json_keys import find_repeats
from runtime.tables.json_lines.json_record import read_members, unescape
from runtime.value import Value

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy.typing as npt

    from runtime.schema.features import Float32Matrix
    from runtime.tables.json_lines.json_block import JsonBlock

_NEGATIVE_ZERO = re.compile(rb"-0(?![.eE0-9])")  # an integer, for msgspec one without a sign


class Tokens(Value, frozen=True):
    """The values of some keys in a block's records.

    Attributes:
        columns: ``(records,)`` binary a key: the JSON text of its value, null where there is
            none; of a key that stands in a record twice, the last.
        faults: records that are no objects, by position.
        repeated: which keys stand twice in a record, by position.
        strangers: a key of a record that is none of the wanted ones, by position; only where
            these were to be looked for.
    """

    columns: list[pa.Array]
    faults: dict[int, RowIssue]
    repeated: dict[int, frozenset[str]]
    strangers: dict[int, str]

    def objects(self, records: int) -> npt.NDArray[np.bool_]:
        """Tell which of so many records are JSON objects: ``(records,)`` bool."""
        objects = np.ones(records, dtype=np.bool_)
        objects[list(self.faults)] = False
        return objects


def read_clean(block: JsonBlock, keys: Sequence[str]) -> Float32Matrix | None:
    """Read a block in which every record is good.

    Args:
        block: the records.
        keys: of the features.

    Returns:
        ``(records, n_features)`` float32, finite; None when a record is not good, or needs a
        closer look.
    """
    decoder = numbers_decoder(tuple(keys))
    if decoder is None or find_deep(block) or not is_one_a_line(block, 0, len(block)):
        return None
    try:
        records = decoder.decode_lines(block.data)
    except REFUSED:
        return None
    if len(records) != len(block) or find_repeats(block.data, block.bounds, keys).any():
        return None
    matrix = to_float32(
        [
            np.fromiter(map(attrgetter(field), records), np.float64, len(block))
            for field in field_names(len(keys))
        ]
    )
    if not np.isfinite(matrix).all():
        return None
    if not matrix.all() and _NEGATIVE_ZERO.search(block.data):
        return None
    return matrix


def read_tokens(block: JsonBlock, keys: Sequence[str], *, closed: bool = False) -> Tokens:
    """Read values as they are written.

    Args:
        block: the records.
        keys: whose values.
        closed: look for other keys, too.

    Returns:
        The values, and what is the matter with records.
    """
    records = decode_records(tokens_decoder(tuple(keys), closed=closed), block, keys)
    found = Tokens([], {}, {}, {})
    nothing = msgspec.Raw()
    values: list[list[Any]] = [
        [nothing if record is None else get(record) for record in records]
        for get in map(attrgetter, field_names(len(keys)))
    ]
    for index in _undecoded(records):
        members = read_members(block.text(index))
        if isinstance(members, RowIssue):
            found.faults[index] = members
            continue
        for column, key in zip(values, keys, strict=True):
            if key in members:
                column[index] = members[key][-1].encode(errors="surrogateescape")
        _note(found, index, members, keys, closed=closed)
    found.columns.extend(map(_token_array, values))
    return found


def read_keys(block: JsonBlock) -> list[str]:
    """List the keys of a block's records, in order of first appearance."""
    records = decode_records(members_decoder(), block, ())
    for index in _undecoded(records):
        members = read_members(block.text(index))
        records[index] = {} if isinstance(members, RowIssue) else members
    return list({key: None for members in records for key in members})


def read_contents(tokens: pa.Array) -> pa.Array:
    """Take strings out of their quotes; other values stay as they are written.

    Args:
        tokens: ``(rows,)`` binary, JSON text or null.

    Returns:
        ``(rows,)`` binary.
    """
    is_string = pc.starts_with(tokens, b'"')
    contents = pc.if_else(is_string, pc.binary_slice(tokens, 1, -1), tokens)
    escaped = pc.fill_null(
        pc.and_(is_string, pc.match_substring(tokens, b"\\")), bool_scalar(False)
    )
    if not pc.any(escaped).as_py():
        return contents
    texts = [unescape(token) for token in tokens.filter(escaped).to_pylist()]
    return pc.replace_with_mask(contents, escaped, binary_array(texts))


def _undecoded(records: Sequence[Any]) -> list[int]:
    return [index for index, record in enumerate(records) if record is None]


def _note(
    found: Tokens,
    index: int,
    members: Mapping[str, Sequence[str]],
    keys: Sequence[str],
    *,
    closed: bool,
) -> None:
    """Note which keys of a record stand there twice, or should not."""
    repeated = frozenset(key for key in keys if len(members.get(key, ())) > 1)
    if repeated:
        found.repeated[index] = repeated
    stranger = next((key for key in members if key not in keys), None) if closed else None
    if stranger is not None:
        found.strangers[index] = stranger


def _token_array(values: Sequence[Any]) -> pa.Array:
    """Lay JSON texts end to end: ``(rows,)`` binary, null where a text is empty."""
    bounds = np.zeros(len(values) + 1, dtype=np.int32)
    lengths = np.fromiter(map(len, values), np.int32, len(values))
    np.cumsum(lengths, out=bounds[1:])
    there = np.packbits(lengths > 0, bitorder="little")
    buffers = [pa.py_buffer(data) for data in (there, bounds, b"".join(values))]
    return pa.Array.from_buffers(pa.binary(), len(values), buffers)
