"""Decode JSON records with msgspec: all at once, or in parts around those that it refuses.

msgspec is quick and strict, but reads values one after another wherever their lines end, keeps the
last of two members with one key, and gives up where nesting exhausts the stack. So what it is
given is looked at first, and what it says is taken only where a closer look could say no other.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from runtime.tables.json_lines.json_keys import find_repeats, is_told_apart
from runtime.tables.json_lines.json_record import DEEPEST, is_too_deep

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import numpy.typing as npt

    from runtime.tables.json_lines.json_block import JsonBlock

REFUSED = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
Decoder = msgspec.json.Decoder[Any]
_CONSTANT = re.compile(rb"([:,\[][ \t]*)(NaN|-?Infinity)(?=[ \t]*[,\]}])")
_OPEN, _CLOSE = b"{}"
_PARTS = 8  # that records are split into when they cannot be decoded at once


def decode_records(decoder: Decoder | None, block: JsonBlock, keys: Sequence[str]) -> list[Any]:
    """Decode each record; None for one that needs a closer look, or that the decoder refuses."""
    doubtful = find_repeats(block.data, block.bounds, keys)
    _clear_up(block, doubtful, keys)
    doubtful[find_deep(block)] = True
    if decoder is None:
        return [None] * len(block)
    return _decode_part(decoder.decode_lines, block, doubtful, 0, len(block))


def _decode_part(
    decode_lines: Callable[[bytes], list[Any]],
    block: JsonBlock,
    doubtful: npt.NDArray[np.bool_],
    start: int,
    stop: int,
) -> list[Any]:
    """Decode records ``start`` to ``stop``: at once, or else in parts."""
    one = stop - start == 1
    if not doubtful[start:stop].any() and (one or is_one_a_line(block, start, stop)):
        data = block.data[block.bounds[start] : block.bounds[stop]]
        if b"NaN" in data or b"Infinity" in data:  # no JSON, but Python writes it
            data = _CONSTANT.sub(rb'\1"\2"', data)  # inside a text, its quotes break the record
        try:
            records = decode_lines(data)
        except REFUSED:
            records = []
        if len(records) == stop - start:
            return records
    if one:
        return [None]
    step = -(-(stop - start) // _PARTS)
    parts = [
        _decode_part(decode_lines, block, doubtful, at, min(at + step, stop))
        for at in range(start, stop, step)
    ]
    return [record for part in parts for record in part]


def is_one_a_line(block: JsonBlock, start: int, stop: int) -> bool:
    """Say whether as many objects as lines mean one in each, for records of a block.

    They do where every line begins with a brace and ends with one, because then no value goes
    on over a line end: between ``}`` and ``{`` JSON knows nothing but the end of a record.
    """
    text = np.frombuffer(block.data, dtype=np.uint8)
    begun = text[block.starts[start:stop]] == _OPEN
    ended = text[block.stops[start:stop] - 1] == _CLOSE
    return bool(begun.all() and ended.all())


def _clear_up(block: JsonBlock, doubtful: npt.NDArray[np.bool_], keys: Sequence[str]) -> None:
    """Take records off the doubtful ones in which a key's other places are inside values."""
    decoder = members_decoder()
    for index in np.flatnonzero(doubtful).tolist():
        line = block.text(index)
        try:
            values = b"\n".join(decoder.decode(line).values())
        except REFUSED:
            continue
        doubtful[index] = not is_told_apart(line, values, keys)


def find_deep(block: JsonBlock) -> list[int]:
    """Find records nested too deep; brackets come in pairs, so only long ones can be."""
    long = np.flatnonzero(block.stops - block.starts > 2 * DEEPEST).tolist()
    return [index for index in long if is_too_deep(block.text(index))]


def field_names(n_keys: int) -> list[str]:
    """Name the attributes of decoded records, one a key."""
    return [f"f{position}" for position in range(n_keys)]


@lru_cache(maxsize=1)
def members_decoder() -> Decoder:
    """Decode the texts of all values, by key."""
    return msgspec.json.Decoder(dict[str, msgspec.Raw])


@lru_cache(maxsize=64)
def numbers_decoder(keys: tuple[str, ...]) -> Decoder | None:
    """Decode records that have a number for each key."""
    return _record_decoder([(float, msgspec.field(name=key)) for key in keys], closed=False)


@lru_cache(maxsize=64)
def tokens_decoder(keys: tuple[str, ...], *, closed: bool) -> Decoder | None:
    """Decode the text of each key's value."""
    nothing = msgspec.Raw()
    return _record_decoder(
        [(msgspec.Raw, msgspec.field(name=key, default=nothing)) for key in keys], closed=closed
    )


def _record_decoder(members: Sequence[tuple[Any, Any]], *, closed: bool) -> Decoder | None:
    """Make a decoder; None for keys that msgspec does not take (with quotes or controls)."""
    fields = [(f"f{at}", kind, field) for at, (kind, field) in enumerate(members)]
    try:
        record = msgspec.defstruct("Record", fields, gc=False, forbid_unknown_fields=closed)
    except ValueError:
        return None
    return msgspec.json.Decoder(record)
