"""A block of JSON Lines: its features, its bad records, its cells for other formats.

msgspec decodes clean blocks to numbers, others to the raw JSON of each value; lines that it
rejects, or that may have duplicate keys, are parsed one by one.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import chain
from operator import attrgetter
from typing import TYPE_CHECKING, Any, Final

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from msgspec.structs import replace

from runtime.errors import DataError
from runtime.schema.matrix import to_float32
from runtime.tables.arrays import binary_array, binary_scalar, bool_scalar, split_bytes
from runtime.tables.base import BadRow, Parsed, RowIssue
from runtime.tables.cells import parse_numbers
from runtime.tables.csv.records import count_lines
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
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    import numpy.typing as npt

    from runtime.choices import Decimal
    from runtime.schema.features import Float32Matrix
    from runtime.tables.base import CellEncoder, Encoded, Mask

    Decoder = msgspec.json.Decoder[Any]
    Positions = npt.NDArray[np.int64]

DUPLICATE_KEY: Final = "key occurs twice"
_NEGATIVE_ZERO = re.compile(rb"-0(?![.eE0-9])")  # an integer, whose sign msgspec drops
_CONSTANT = re.compile(rb"([:,\[][ \t]*)(NaN|-?Infinity)(?=[ \t]*[,\]}])")
_OPEN, _CLOSE = b"{}"
_PART: Final = 64  # records that are parsed exactly when one of them may be bad
_NULL, _QUOTE = b"null", b'"'


class _Values(Value, frozen=True):
    """The values of some keys, and the records without them."""

    keys: tuple[str, ...]
    raw: list[pa.Array]  # JSON by key: ``(records,)`` binary, null where absent
    issues: dict[int, RowIssue]  # of records that are not objects
    duplicates: dict[int, list[str]]  # keys by record; the last value counts

    def encode(self, encoder: CellEncoder, decimal: Decimal) -> Encoded:
        """Encode the values; a key that occurs twice is not usable."""
        contents = [_unquote(raw) for raw in self.raw]
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


@dataclass(slots=True)
class Keys:
    """The keys of a table's records, shared by its blocks.

    Attributes:
        found: keys in order of first appearance.
        required: keys that none of the records in which ``found`` were found has.
        read: keys of which a value was read.
        records: number of the first records in which ``found`` were found.
        closed: whether a record with a key that is not ``found`` is refused.
    """

    found: tuple[str, ...] = ()
    required: tuple[str, ...] = ()
    read: set[str] = field(default_factory=set)
    records: int = 0
    closed: bool = False

    @property
    def names(self) -> tuple[str, ...]:
        """Keys by the positions of columns."""
        return self.found + self.required


@dataclass(slots=True)
class JsonLinesBlock:
    """Consecutive records as read; see ``runtime.tables.base.Block``.

    Record ``i`` is ``data[bounds[i]:bounds[i + 1]]``, with preceding blank lines and its line end;
    its text is ``data[starts[i]:stops[i]]``.
    """

    data: bytes
    bounds: Positions
    starts: Positions
    stops: Positions
    first_record: int
    first_line: int
    keys: Keys
    where: str
    decimal: Decimal = "."  # in strings; JSON numbers have a point
    _objects: npt.NDArray[np.bool_] | None = field(default=None, compare=False)

    def __len__(self) -> int:
        return len(self.starts)

    def text(self, index: int) -> bytes:
        """Return a record without its line end."""
        return self.data[self.starts[index] : self.stops[index]]

    def texts(self) -> list[bytes]:
        """Return all records without their line ends."""
        spans = zip(self.starts.tolist(), self.stops.tolist(), strict=True)
        return [self.data[start:stop] for start, stop in spans]

    def pieces(self) -> pa.Array:
        """View the records with their line ends: ``(records,)`` binary."""
        return split_bytes(self.data, self.bounds.astype(np.int32))

    def parse(self, features: Sequence[int], encoder: CellEncoder) -> Parsed:
        """Parse the feature cells."""
        keys = tuple(map(self.keys.names.__getitem__, features))
        self._objects = np.ones(len(self), dtype=np.bool_)
        plain, numbers = np.zeros(len(self), dtype=np.bool_), None
        if encoder.is_numeric:
            plain, numbers = self.read_numbers(keys)
            if plain.all():
                return Parsed(numbers, None, ())
        rest = np.flatnonzero(~plain)
        block = self._take(rest) if plain.any() else self
        values = block.read_values(keys)
        self._objects[rest[list(values.issues)]] = False
        encoded = values.encode(encoder, self.decimal)
        usable = np.logical_and.reduce(encoded.usable, axis=1)
        issues = {
            int(rest[index]): values.issues.get(index)
            or values.explain(index, int(np.argmin(encoded.usable[index])), encoder, self.decimal)
            for index in np.flatnonzero(~usable).tolist()
        }
        good = plain.copy()
        good[rest] = usable
        matrix = encoded.matrix[usable]
        if plain.any():
            merged = np.empty((len(self), len(keys)), dtype=np.float32)
            merged[plain], merged[rest[usable]] = numbers, matrix
            matrix = merged[good]
        return Parsed(matrix, good if issues else None, self.report(issues))

    def _take(self, records: Positions) -> JsonLinesBlock:
        """Copy some of the records to a block."""
        lines = [self.text(index) for index in records.tolist()]
        ends = np.cumsum([len(line) + 1 for line in lines])
        bounds, data = np.append(0, ends), b"\n".join([*lines, b""])
        place = (self.first_record, self.first_line, self.keys, self.where, self.decimal)
        return JsonLinesBlock(data, bounds, bounds[:-1], ends - 1, *place)

    def report(self, issues: Mapping[int, RowIssue]) -> tuple[BadRow, ...]:
        """Describe records that cannot be scored."""
        rows: list[BadRow] = []
        line, counted = self.first_line, 0
        for index, issue in issues.items():
            start = int(self.starts[index])
            line += count_lines(self.data[counted:start])
            counted = start
            record, text = self.first_record + index, self.text(index)
            rows.append(BadRow(record, line, issue.column, issue.value, issue.reason, text))
        return tuple(rows)

    def select(self, columns: Sequence[int]) -> pa.RecordBatch:
        """Return strings decoded, other values as JSON, null and absent ones as null.

        Raises ``DataError`` when all columns are selected, no others are expected, and a record
        has another.
        """
        if self.keys.closed and set(columns) >= set(range(len(self.keys.found))):
            self._refuse_other_keys()
        keys = [self.keys.names[at] for at in columns]
        names = [key.encode(errors="backslashreplace").decode() for key in keys]
        return pa.RecordBatch.from_arrays([*map(_unquote, self.read_values(keys).raw)], names=names)

    def members(self, columns: Sequence[int]) -> tuple[list[str], list[pa.Array]]:
        """Return keys and the raw JSON of their values, ``null`` where absent."""
        keys = [self.keys.names[at] for at in columns]
        null = binary_scalar(_NULL)
        return keys, [pc.fill_null(raw, null) for raw in self.read_values(keys).raw]

    def find_keys(self, known: Sequence[str]) -> tuple[str, ...]:
        """Return the known keys, then others of these records in order of first appearance."""
        if self._decode_all(_record_decoder(tuple(known), msgspec.Raw, only=True), self.data):
            return tuple(known)
        return tuple(dict.fromkeys(chain(known, *self._record_keys())))

    def _record_keys(self) -> Iterator[Iterable[str]]:
        """Yield the keys of each record, none for one that is not an object."""
        for index, members in enumerate(self._decode(MEMBERS)):
            parsed = parse_members(self.text(index)) if members is None else members
            yield () if isinstance(parsed, RowIssue) else parsed

    def objects(self) -> npt.NDArray[np.bool_]:
        """Mark the records that are JSON objects: ``(records,)`` bool."""
        if self._objects is None:
            self._objects = np.ones(len(self), dtype=np.bool_)
            self._objects[list(self.read_values(()).issues)] = False
        return self._objects

    def read_values(self, keys: Sequence[str]) -> _Values:
        """Read the raw JSON of the keys' values."""
        records = self._decode(_record_decoder(tuple(keys), msgspec.Raw))
        absent = msgspec.Raw()
        columns: list[list[Any]] = [
            [absent if record is None else get(record) for record in records]
            for get in map(attrgetter, _fields(keys))
        ]
        single = {index for index, record in enumerate(records) if record is None}
        for key, column in zip(keys, columns, strict=True):
            if may_occur_more(self.data, key, sum(map(bool, column))):  # duplicate or nested
                single.update(find_duplicates(self.texts(), key))
        values = _Values(tuple(keys), [], {}, {})
        for index in sorted(single):
            members = parse_members(self.text(index))
            if isinstance(members, RowIssue):
                values.issues[index] = members
                continue
            for key, column in zip(keys, columns, strict=True):
                if key in members:
                    column[index] = members[key][-1].encode(errors="surrogateescape")
            if duplicates := [key for key in keys if len(members.get(key, ())) > 1]:
                values.duplicates[index] = duplicates
        values.raw.extend(map(_binary_array, columns))
        self.keys.read.update(key for key, column in zip(keys, columns, strict=True) if any(column))
        return values

    def _refuse_other_keys(self) -> None:
        """Refuse keys that are not columns: their values would be lost."""
        found = self.keys.found
        others = frozenset(self.find_keys(found)[len(found) :])
        for index, keys in enumerate(self._record_keys() if others else ()):
            if lost := [key for key in keys if key in others]:
                (row,) = self.report({index: RowIssue("")})
                raise DataError(
                    f"{self.where}: record {row.record} (line {row.line}) has a key {lost[0]!r} "
                    f"that none of the first {self.keys.records:,} records has, and its value "
                    "would be lost: give the table as a file, which is read twice, write JSON "
                    "Lines (.jsonl), or select the columns to keep with --columns"
                )

    def read_numbers(self, keys: tuple[str, ...]) -> tuple[Mask, Float32Matrix]:
        """Mark records with plain numbers, ``(records,)``, and read these, ``(marked, keys)``.

        Where a record may be bad, those around it are not marked either.
        """
        decoder = _record_decoder(keys, float)
        plain, records = np.zeros(len(self), dtype=np.bool_), []
        for size in (len(self), _PART):
            for start in range(0, len(self), size):
                part = slice(start, min(start + size, len(self)))
                if found := self._decode_numbers(decoder, keys, part):
                    records += found
                    plain[part] = True
            if records:
                break
        self.keys.read.update(keys if records else ())
        columns = [map(attrgetter(name), records) for name in _fields(keys)]
        matrix = to_float32([np.fromiter(each, np.float64, len(records)) for each in columns])
        usable = np.isfinite(matrix)
        if not matrix.all() and _NEGATIVE_ZERO.search(self.data):
            usable &= matrix != 0
        if usable.all():
            return plain, matrix
        plain[plain] = good = usable.all(axis=1)
        return plain, matrix[good]

    def _decode_numbers(
        self, decoder: Decoder | None, keys: tuple[str, ...], part: slice
    ) -> list[Any] | None:
        """Decode the numbers of consecutive records; None where one may be bad."""
        data = original = self.data[self.bounds[part.start] : self.bounds[part.stop]]
        if b"NaN" in data or b"Infinity" in data:  # Python writes them, msgspec rejects them
            data = _CONSTANT.sub(rb'\1"\2"', data)  # within a string the quotes make it invalid
        records = self._decode_all(decoder, data, part)
        if records and any(may_occur_more(original, key, len(records)) for key in keys):
            return None
        return records

    def _decode(self, decoder: Decoder | None) -> list[Any]:
        """Decode each record; None for one that has to be parsed on its own."""
        records = self._decode_all(decoder, self.data)
        if records is not None or decoder is None:
            return records or [None] * len(self)
        records = []
        for line in self.texts():
            try:
                records.append(decoder.decode(line))
            except DECODE_ERRORS:
                records.append(None)
        return records

    def _decode_all(
        self, decoder: Decoder | None, data: bytes, part: slice = slice(None)
    ) -> list[Any] | None:
        """Decode records at once; None where that fails or lines may not be records.

        msgspec also accepts records over several lines. There are none if each line begins and ends
        with a brace: between ``}`` and ``{`` only the end of a record is valid.
        """
        text = np.frombuffer(self.data, dtype=np.uint8)
        starts, ends = self.starts[part], self.stops[part] - 1
        framed = (text[starts] == _OPEN).all() and (text[ends] == _CLOSE).all()
        try:
            records: list[Any] = decoder.decode_lines(data) if decoder and framed else []
        except DECODE_ERRORS:
            return None
        return records if len(records) == len(starts) else None


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


def _unquote(raw: pa.Array) -> pa.Array:
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
