"""Insert new members into JSON records that were read, and leave the rest as it is.

In: a block of records and arrays of the new members' values. Out: the records' own bytes, each
with the members before its closing brace. Raises ``SchemaError`` for a record that has a key of
that name already.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pyarrow.compute as pc

from runtime.errors import SchemaError
from runtime.tables.arrays import (
    binary_array,
    binary_scalar,
    bool_array,
    bool_scalar,
    join_parts,
    number_values,
    split_bytes,
    value_bytes,
)
from runtime.tables.json_lines.json_cells import read_tokens
from runtime.tables.json_lines.json_encode import encode_values
from runtime.tables.json_lines.json_keys import encode_text, may_have
from runtime.tables.json_lines.lines import BLANKS
from runtime.value import Value

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy.typing as npt
    import pyarrow as pa

    from runtime.tables.json_lines.json_block import JsonBlock
    from runtime.tables.json_lines.lines import Positions

TEXT_KEY = "text"
_OPEN, _SPACE, _TAB = b"{ \t"


class _Rows(Value, frozen=True):
    """Records that are all objects, as they are about to be extended.

    Attributes:
        data: the bytes, from the first record's to the last one's line end.
        braces: ``(records,)`` int64, where each one's closing brace is.
    """

    data: bytes
    braces: Positions


def append_members(
    block: JsonBlock, kept: npt.NDArray[np.bool_] | None, columns: Mapping[str, pa.Array]
) -> bytes:
    """Write records with new members.

    Args:
        block: the records as they were read.
        kept: ``(records,)`` bool, which of them to write; None for all.
        columns: ``(kept records,)`` values by key, of any type; null comes out as ``null``.

    Returns:
        Each record's bytes with the members before its closing brace. A line that is no JSON
        object comes out as one that has the line as ``"text"``.

    Raises:
        SchemaError: when a record that is kept already has one of the keys.
    """
    _refuse_taken(block, kept, tuple(columns))
    rows = _take_rows(block, kept)
    if not len(rows.braces):
        return b""
    bounds = np.append(0, rows.braces)  # each piece begins with the brace of the record before
    parts = [split_bytes(rows.data, bounds.astype(np.int32))]
    for position, (key, values) in enumerate(columns.items()):
        name = encode_text(key) + b": "
        lead = binary_scalar(b", " + name)
        if not position and (empty := _find_empty(rows)).any():
            lead = pc.if_else(bool_array(empty), binary_scalar(name), lead)
        parts += [lead, encode_values(values)]
    joined = value_bytes(join_parts(*parts))
    return b"".join((joined, rows.data[rows.braces[-1] :]))


def _refuse_taken(
    block: JsonBlock, kept: npt.NDArray[np.bool_] | None, keys: tuple[str, ...]
) -> None:
    """Look for records that already have one of the keys; most blocks show at once they don't."""
    suspects = [key for key in keys if may_have(block.data, key)]
    if not suspects:
        return
    columns = read_tokens(block, suspects).columns
    for key, column in zip(suspects, columns, strict=True):
        there = pc.is_valid(column)
        if kept is not None:
            there = pc.and_(there, bool_array(kept))
        if (index := pc.index(there, bool_scalar(True)).as_py()) >= 0:
            raise SchemaError(
                f"{block.where}: record {block.first_record + index} already has a key {key!r}; "
                "give the new ones another name with --prefix TEXT"
            )


def _take_rows(block: JsonBlock, kept: npt.NDArray[np.bool_] | None) -> _Rows:
    """Take the records to write, those that are no objects made into some."""
    objects = block.objects
    if objects is None:  # nobody has parsed it
        objects = read_tokens(block, ()).objects(len(block))
    braces = _last_filled(block.data, block.stops - 1, block.starts)
    if kept is None and objects.all():
        return _Rows(block.data, braces)
    pieces, within = block.pieces(), braces - block.bounds[:-1]
    if strange := np.flatnonzero(~objects).tolist():
        wrapped = [_wrap_text(block, index) for index in strange]
        pieces = pc.replace_with_mask(
            pieces, bool_array(~objects), binary_array([lead + end for lead, end in wrapped])
        )
        within[strange] = [len(lead) for lead, _ in wrapped]
    if kept is not None:
        pieces, within = pieces.filter(bool_array(kept)), within[kept]
    lengths = number_values(pc.binary_length(pieces))
    starts = np.cumsum(lengths, dtype=np.int64) - lengths
    return _Rows(bytes(value_bytes(pieces)), starts + within)


def _wrap_text(block: JsonBlock, index: int) -> tuple[bytes, bytes]:
    """Make an object of a line that is none; return what comes before its brace, and the rest."""
    text = encode_text(block.text(index).decode(errors="surrogateescape"))
    before = block.data[block.bounds[index] : block.starts[index]]
    after = block.data[block.stops[index] : block.bounds[index + 1]]
    return before + b'{"' + TEXT_KEY.encode() + b'": ' + text, b"}" + after


def _find_empty(rows: _Rows) -> npt.NDArray[np.bool_]:
    """Tell records without members: ``(records,)`` bool."""
    text = np.frombuffer(rows.data, dtype=np.uint8)
    before = _last_filled(rows.data, rows.braces - 1, np.append(0, rows.braces[:-1]))
    empty: npt.NDArray[np.bool_] = text[before] == _OPEN
    return empty


def _last_filled(data: bytes, at: Positions, floors: Positions) -> Positions:
    """Go back from each position to what is no space or tab.

    Args:
        data: the bytes.
        at: ``(n,)`` int64, where to begin.
        floors: ``(n,)`` int64, no later than where each search ends.

    Returns:
        ``(n,)`` int64.
    """
    text = np.frombuffer(data, dtype=np.uint8)
    found: Positions = at - _is_blank(text[at])
    for index in np.flatnonzero(_is_blank(text[found])).tolist():  # more than one in a row: rare
        floor = int(floors[index])
        found[index] = floor + len(data[floor : found[index] + 1].rstrip(BLANKS)) - 1
    return found


def _is_blank(found: npt.NDArray[np.uint8]) -> npt.NDArray[np.bool_]:
    blank: npt.NDArray[np.bool_] = (found == _SPACE) | (found == _TAB)
    return blank
