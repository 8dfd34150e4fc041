"""Decode lines of JSON: msgspec reads all at once, or the raw JSON of each value.

Lines that it rejects, or that may have duplicate keys, are parsed one by one, exactly.
"""

from __future__ import annotations

import re
from functools import lru_cache
from itertools import chain
from operator import attrgetter
from typing import TYPE_CHECKING, Any, Final

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from msgspec.structs import replace

from runtime.schema.matrix import to_float32
from runtime.tables.arrays import binary_array, binary_scalar, bool_scalar
from runtime.tables.base import RowIssue
from runtime.tables.cells import parse_numbers
from runtime.tables.dialect import COMMA
from runtime.tables.jsonl.records import (
    DECODE_ERRORS,
    MEMBERS,
    decode_text,
    find_duplicates,
    may_occur_more,
    parse_members,
)
from runtime.value import Value

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    import numpy.typing as npt

    from runtime.choices import Decimal
    from runtime.schema.features import Float32Matrix
    from runtime.tables.base import CellEncoder, Encoded, Mask
    from runtime.tables.jsonl.lines import Lines

    Decoder = msgspec.json.Decoder[Any]

DUPLICATE_KEY: Final = "key occurs twice"
_NEGATIVE_ZERO = re.compile(rb"-0(?![.eE0-9])")  # an integer, whose sign msgspec drops
_CONSTANT = re.compile(rb"([:,\[][ \t]*)(NaN|-?Infinity)(?=[ \t]*[,\]}])")
_PART: Final = 64  # records that are parsed exactly when one of them may be bad
_NULL, _QUOTE = b"null", b'"'


class JsonValues(Value, frozen=True):
    """The values of some keys, and the records without them."""

    keys: tuple[str, ...]
    raw: list[pa.Array]  # JSON by key: ``(records,)`` binary, null where absent
    issues: dict[int, RowIssue]  # of records that are not objects
    duplicates: dict[int, list[str]]  # keys by record; the last value counts

    def encode(self, encoder: CellEncoder, decimal: Decimal) -> Encoded:
        """Encode the values; a key that occurs twice is not usable."""
        contents = [unquote(raw) for raw in self.raw]
        encoded = encoder.encode(
            [
                content
                if encoder.is_text(at)
                else encoder.with_missing(at, _parse_numbers(raw, content, decimal), content)
                for at, (raw, content) in enumerate(zip(self.raw, contents, strict=True))
            ]
        )
        for index, duplicates in self.duplicates.items():
            encoded.usable[index] &= [key not in duplicates for key in self.keys]
        return encoded

    def explain(self, index: int, at: int, encoder: CellEncoder, decimal: Decimal) -> RowIssue:
        """Explain why a value, by the positions of its record and key, is not usable."""
        key, raw = self.keys[at], self.raw[at][index].as_py()
        is_string = raw is not None and raw.startswith(_QUOTE)
        content = decode_text(raw) if is_string else raw
        shown = (content or b"").decode(errors="backslashreplace")
        if key in self.duplicates.get(index, ()):
            return RowIssue(DUPLICATE_KEY, key, shown)
        dialect = replace(COMMA, decimal=decimal) if is_string else COMMA
        reason = encoder.explain(at, None if raw == _NULL else content, dialect)
        return RowIssue(reason, key, shown)


def read_values(lines: Lines, keys: Sequence[str]) -> JsonValues:
    """Read the raw JSON of the keys' values."""
    records = _decode(lines, _record_decoder(tuple(keys), msgspec.Raw))
    single = {index for index, record in enumerate(records) if record is None}
    if single:
        blank = _Blank()
        records = [blank if record is None else record for record in records]
    columns: list[list[Any]] = [list(map(attrgetter(name), records)) for name in _fields(keys)]
    for key, column in zip(keys, columns, strict=True):
        if may_occur_more(lines.data, key, sum(map(bool, column))):  # duplicate or nested
            single.update(find_duplicates(lines.texts(), key))
    issues: dict[int, RowIssue] = {}
    doubled: dict[int, list[str]] = {}
    for index in sorted(single):
        members = parse_members(lines.text(index))
        if isinstance(members, RowIssue):
            issues[index] = members
            continue
        for key, column in zip(keys, columns, strict=True):
            if key in members:
                column[index] = members[key][-1].encode(errors="surrogateescape")
        if duplicates := [key for key in keys if len(members.get(key, ())) > 1]:
            doubled[index] = duplicates
    return JsonValues(tuple(keys), [*map(_binary_array, columns)], issues, doubled)


def read_numbers(lines: Lines, keys: tuple[str, ...]) -> tuple[Mask, Float32Matrix]:
    """Mark records with plain numbers, ``(records,)``, and read these, ``(marked, keys)``.

    Where a record may be bad, those around it are not marked either.
    """
    decoder, total = _record_decoder(keys, float), len(lines)
    plain, records = np.zeros(total, dtype=np.bool_), []
    for size in (total, _PART):
        for start in range(0, total, size):
            stop = min(start + size, total)
            data = lines.data[lines.bounds[start] : lines.bounds[stop]]
            if decoder and lines.framed[start:stop].all():
                part = _decode_numbers(decoder, keys, data, stop - start)
                records += part
                plain[start:stop] = bool(part)
        if records:
            break
    columns = [map(attrgetter(name), records) for name in _fields(keys)]
    matrix = to_float32([np.fromiter(each, np.float64, len(records)) for each in columns])
    usable = np.isfinite(matrix)
    if not matrix.all() and _NEGATIVE_ZERO.search(lines.data):
        usable &= matrix != 0
    if usable.all():
        return plain, matrix
    plain[plain] = good = usable.all(axis=1)
    return plain, matrix[good]


def find_keys(lines: Lines, known: Sequence[str]) -> tuple[str, ...]:
    """Return the known keys, then others of these records in order of first appearance."""
    decoder = _record_decoder(tuple(known), msgspec.Raw, only=True) if known else None
    if decoder and lines.framed.all() and _decode_all(decoder, lines.data, len(lines)):
        return tuple(known)
    return tuple(dict.fromkeys(chain(known, *record_keys(lines))))


def record_keys(lines: Lines) -> Iterator[Iterable[str]]:
    """Yield the keys of each record, none for one that is not an object."""
    for index, members in enumerate(_decode(lines, MEMBERS)):
        parsed = parse_members(lines.text(index)) if members is None else members
        yield () if isinstance(parsed, RowIssue) else parsed


class _Blank:
    """A record that msgspec did not decode: it has no value of any key."""

    def __getattr__(self, name: str) -> bytes:
        return b""


def _decode_numbers(decoder: Decoder, keys: tuple[str, ...], data: bytes, count: int) -> list[Any]:
    """Decode the numbers of records; empty where one may be bad."""
    standard = data
    if b"NaN" in data or b"Infinity" in data:  # Python writes them, msgspec rejects them
        standard = _CONSTANT.sub(rb'\1"\2"', data)  # within a string the quotes make it invalid
    records = _decode_all(decoder, standard, count)
    if records and any(may_occur_more(data, key, count) for key in keys):
        return []
    return records


def _decode(lines: Lines, decoder: Decoder | None) -> list[Any]:
    """Decode each record; None for one that has to be parsed on its own."""
    if decoder is None:
        return [None] * len(lines)
    records = _decode_all(decoder, lines.data, len(lines)) if lines.framed.all() else []
    return records or [_decode_one(decoder, text) for text in lines.texts()]


def _decode_one(decoder: Decoder, text: bytes) -> Any:  # noqa: ANN401 - a record of the decoder
    try:
        return decoder.decode(text)
    except DECODE_ERRORS:
        return None


def _decode_all(decoder: Decoder, data: bytes, count: int) -> list[Any]:
    """Decode so many records at once; empty where that fails."""
    try:
        records: list[Any] = decoder.decode_lines(data)
    except DECODE_ERRORS:
        return []
    return records if len(records) == count else []


def _fields(keys: Sequence[str]) -> list[str]:
    """Return the attribute names of decoded records, one a key."""
    return [f"f{at}" for at in range(len(keys))]


@lru_cache(maxsize=128)
def _record_decoder(keys: tuple[str, ...], kind: type, *, only: bool = False) -> Decoder | None:
    """Return a decoder of values of a type; None for keys that msgspec does not support.

    With ``only``, a record with another key fails.
    """
    optional: dict[str, Any] = {} if kind is float else {"default": msgspec.Raw()}
    names = zip(_fields(keys), keys, strict=True)
    fields = [(name, kind, msgspec.field(name=key, **optional)) for name, key in names]
    try:
        record = msgspec.defstruct("Record", fields, gc=False, forbid_unknown_fields=only)
        return msgspec.json.Decoder(record)
    except ValueError:  # quotes, backslashes, control characters, lone surrogates
        return None


def _binary_array(raw: Sequence[Any]) -> pa.Array:
    """Return ``(records,)`` binary, null for an empty value."""
    whole = binary_array(raw)
    valid = np.fromiter(map(bool, raw), np.bool_, len(raw))
    buffers = [pa.py_buffer(np.packbits(valid, bitorder="little")), *whole.buffers()[1:]]
    return pa.Array.from_buffers(pa.binary(), len(raw), buffers)


def unquote(raw: pa.Array) -> pa.Array:
    """Decode strings and turn JSON null into null: ``(records,)`` binary."""
    is_null = pc.equal(raw, binary_scalar(_NULL))
    raw = pc.if_else(is_null, pa.nulls(1, pa.binary())[0], raw)
    is_string = pc.starts_with(raw, _QUOTE)
    contents = pc.if_else(is_string, pc.binary_slice(raw, 1, -1), raw)
    escaped = pc.and_(is_string, pc.match_substring(raw, b"\\"))
    escaped = pc.fill_null(escaped, bool_scalar(False))
    if not pc.any(escaped).as_py():
        return contents
    texts = [decode_text(value) for value in raw.filter(escaped).to_pylist()]
    return pc.replace_with_mask(contents, escaped, binary_array(texts))


def _parse_numbers(raw: pa.Array, contents: pa.Array, decimal: Decimal) -> npt.NDArray[np.float64]:
    """Parse values as ``(records,)`` float64; NaN for what is not a number."""
    if decimal != ".":  # JSON's own numbers have a point
        numbers = pc.replace_substring(contents, b".", decimal.encode())
        contents = pc.if_else(pc.starts_with(raw, _QUOTE), contents, numbers)
    return parse_numbers(pa.chunked_array([pc.fill_null(contents, binary_scalar(b""))]), decimal)
