"""A block of JSON Lines: its feature cells, its bad records, its cells for other formats.

Clean blocks are decoded by msgspec straight to numbers, others to the text of each value; lines
that msgspec refuses, or in which a key may be doubled, are read one by one.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import lru_cache
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
    MEMBERS,
    REFUSED,
    decode_text,
    may_be_doubled,
    may_have_more,
    read_members,
)
from runtime.value import Value

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    import numpy.typing as npt

    from runtime.choices import Decimal
    from runtime.schema.features import Float32Matrix
    from runtime.tables.base import CellEncoder

    Decoder = msgspec.json.Decoder[Any]
    Positions = npt.NDArray[np.int64]

DOUBLED_KEY: Final = "key occurs twice"
_NEGATIVE_ZERO = re.compile(rb"-0(?![.eE0-9])")  # an integer, whose sign msgspec drops
_CONSTANT = re.compile(rb"([:,\[][ \t]*)(NaN|-?Infinity)(?=[ \t]*[,\]}])")
_OPEN, _CLOSE = b"{}"
_NULL, _QUOTE = b"null", b'"'


class _Values(Value, frozen=True):
    """The values of some keys: JSON text or null, ``(records,)`` binary a key, and exceptions."""

    keys: tuple[str, ...]
    tokens: list[pa.Array]
    faults: dict[int, RowIssue]  # of records that are no objects
    doubled: dict[int, list[str]]  # keys by record; their token is the last one

    def explain(self, index: int, at: int, encoder: CellEncoder, decimal: Decimal) -> RowIssue:
        """Explain why a value, by its record and key, is not usable."""
        key, token = self.keys[at], self.tokens[at][index].as_py()
        is_string = token is not None and token.startswith(_QUOTE)
        content = decode_text(token) if is_string else token
        shown = (content or b"").decode(errors="backslashreplace")
        if key in self.doubled.get(index, ()):
            return RowIssue(DOUBLED_KEY, key, shown)
        dialect = replace(COMMA, decimal=decimal) if is_string else COMMA
        reason = encoder.explain(at, None if token == _NULL else content, dialect)
        return RowIssue(reason, key, shown)


@dataclass(slots=True)
class JsonLinesBlock:
    """Consecutive records as they were read; see ``runtime.tables.base.Block``.

    Record ``i`` is ``data[bounds[i]:bounds[i + 1]]``, with the blank lines before it and its line
    end; its text is ``data[starts[i]:stops[i]]``.
    """

    data: bytes
    bounds: Positions
    starts: Positions
    stops: Positions
    first_record: int
    first_line: int
    columns: tuple[str, ...]
    where: str
    decimal: Decimal = "."  # of strings; JSON numbers have a point
    _objects: npt.NDArray[np.bool_] | None = field(default=None, compare=False)

    def __len__(self) -> int:
        return len(self.starts)

    def text(self, index: int) -> bytes:
        """Return a record without its line end."""
        return self.data[self.starts[index] : self.stops[index]]

    def texts(self) -> list[bytes]:
        """Return all records without their line ends."""
        places = zip(self.starts.tolist(), self.stops.tolist(), strict=True)
        return [self.data[start:stop] for start, stop in places]

    def pieces(self) -> pa.Array:
        """View the records with their line ends: ``(records,)`` binary."""
        return split_bytes(self.data, self.bounds.astype(np.int32))

    def parse(self, features: Sequence[int], encoder: CellEncoder) -> Parsed:
        """Read the feature cells."""
        keys = tuple(self.columns[at] for at in features)
        numbers = self.read_numbers(keys) if encoder.is_numeric else None
        if numbers is not None:
            self._objects = np.ones(len(self), dtype=np.bool_)
            return Parsed(numbers, None, ())
        values = self.read_values(keys)
        self._objects = np.array([index not in values.faults for index in range(len(self))])
        contents = [_contents(tokens) for tokens in values.tokens]
        encoded = encoder.encode(
            [
                content
                if encoder.is_text(at)
                else encoder.with_missing(
                    at, _parse_numbers(tokens, content, self.decimal), content
                )
                for at, (tokens, content) in enumerate(zip(values.tokens, contents, strict=True))
            ]
        )
        usable = encoded.usable
        for index, doubled in values.doubled.items():
            usable[index] &= [key not in doubled for key in keys]
        good: npt.NDArray[np.bool_] = np.logical_and.reduce(usable, axis=1)
        if good.all():
            return Parsed(encoded.matrix, None, ())
        faults = {
            index: values.faults.get(index)
            or values.explain(index, int(np.argmin(usable[index])), encoder, self.decimal)
            for index in np.flatnonzero(~good).tolist()
        }
        return Parsed(encoded.matrix[good], good, self.report(faults))

    def report(self, faults: Mapping[int, RowIssue]) -> tuple[BadRow, ...]:
        """Describe records that cannot be scored."""
        rows: list[BadRow] = []
        line, counted = self.first_line, 0
        for index, fault in faults.items():
            start = int(self.starts[index])
            line += count_lines(self.data[counted:start])
            counted = start
            record, text = self.first_record + index, self.text(index)
            rows.append(BadRow(record, line, fault.column, fault.value, fault.reason, text))
        return tuple(rows)

    def select(self, columns: Sequence[int]) -> pa.RecordBatch:
        """Return strings as their text, other values as JSON, null and absent ones as null.

        Raises:
            DataError: when all columns are selected and a record has a key that is none of them.
        """
        if len(set(columns)) == len(self.columns):
            self._refuse_unknown()
        keys = [self.columns[at] for at in columns]
        names = [key.encode(errors="backslashreplace").decode() for key in keys]
        return pa.RecordBatch.from_arrays(
            [*map(_contents, self.read_values(keys).tokens)], names=names
        )

    def members(self, columns: Sequence[int]) -> tuple[list[str], list[pa.Array]]:
        """Return keys, and the JSON text of their values as it was read, ``null`` where absent."""
        keys = [self.columns[at] for at in columns]
        null = binary_scalar(_NULL)
        return keys, [pc.fill_null(tokens, null) for tokens in self.read_values(keys).tokens]

    def record_keys(self) -> Iterator[Iterable[str]]:
        """Yield the keys of each record, none for one that is no object."""
        for index, members in enumerate(self._decode(MEMBERS)):
            exact = read_members(self.text(index)) if members is None else members
            yield () if isinstance(exact, RowIssue) else exact

    def objects(self) -> npt.NDArray[np.bool_]:
        """Mark the records that are JSON objects: ``(records,)`` bool."""
        if self._objects is None:
            self._objects = np.ones(len(self), dtype=np.bool_)
            self._objects[list(self.read_values(()).faults)] = False
        return self._objects

    def read_values(self, keys: Sequence[str]) -> _Values:
        """Read the JSON text of the keys' values."""
        records = self._decode(_record_decoder(tuple(keys), msgspec.Raw))
        absent = msgspec.Raw()
        columns: list[list[Any]] = [
            [absent if record is None else get(record) for record in records]
            for get in map(attrgetter, _fields(keys))
        ]
        exact = {index for index, record in enumerate(records) if record is None}
        for key, column in zip(keys, columns, strict=True):
            if may_have_more(self.data, key, sum(map(bool, column))):  # doubled, or inside a value
                lines = enumerate(self.texts())
                exact.update(index for index, line in lines if may_be_doubled(line, key))
        values = _Values(tuple(keys), [], {}, {})
        for index in sorted(exact):
            members = read_members(self.text(index))
            if isinstance(members, RowIssue):
                values.faults[index] = members
                continue
            for key, column in zip(keys, columns, strict=True):
                if key in members:
                    column[index] = members[key][-1].encode(errors="surrogateescape")
            if doubled := [key for key in keys if len(members.get(key, ())) > 1]:
                values.doubled[index] = doubled
        values.tokens.extend(map(_binary_array, columns))
        return values

    def _refuse_unknown(self) -> None:
        """Refuse keys that are no columns: their values would be lost."""
        known = frozenset(self.columns)
        for index, keys in enumerate(self.record_keys()):
            if not known.issuperset(keys):
                (row,) = self.report({index: RowIssue("")})
                key = next(key for key in keys if key not in known)
                raise DataError(
                    f"{self.where}: record {row.record} (line {row.line}) has a key {key!r} "
                    "that none of the first records has, and its value would be lost: "
                    "write JSON Lines (.jsonl), which carries it, or name the columns to keep"
                )

    def read_numbers(self, keys: tuple[str, ...]) -> Float32Matrix | None:
        """Read a block of good records, ``(records, keys)``; None where it may not be one."""
        data = self.data
        if b"NaN" in data or b"Infinity" in data:  # Python writes them, msgspec refuses them
            data = _CONSTANT.sub(rb'\1"\2"', data)  # within a string, the quotes break the record
        records = self._decode_all(_record_decoder(keys, float), data)
        if records is None or any(may_have_more(self.data, key, len(self)) for key in keys):
            return None
        columns = [map(attrgetter(name), records) for name in _fields(keys)]
        matrix = to_float32([np.fromiter(each, np.float64, len(self)) for each in columns])
        if not np.isfinite(matrix).all():
            return None
        return matrix if matrix.all() or not _NEGATIVE_ZERO.search(self.data) else None

    def _decode(self, decoder: Decoder | None) -> list[Any]:
        """Decode each record; None for one that has to be read exactly."""
        records = self._decode_all(decoder, self.data)
        if records is not None or decoder is None:
            return records or [None] * len(self)
        records = []
        for line in self.texts():
            try:
                records.append(decoder.decode(line))
            except REFUSED:
                records.append(None)
        return records

    def _decode_all(self, decoder: Decoder | None, data: bytes) -> list[Any] | None:
        """Decode all records at once; None where that fails or lines may not be records.

        msgspec reads on over line ends, which cannot happen where every line begins with a brace
        and ends with one: between ``}`` and ``{`` there can be nothing but the end of a record.
        """
        text = np.frombuffer(self.data, dtype=np.uint8)
        framed = (text[self.starts] == _OPEN).all() and (text[self.stops - 1] == _CLOSE).all()
        try:
            records: list[Any] = decoder.decode_lines(data) if decoder and framed else []
        except REFUSED:
            return None
        return records if len(records) == len(self) else None


def _fields(keys: Sequence[str]) -> list[str]:
    """Name the attributes of decoded records, one a key."""
    return [f"f{at}" for at in range(len(keys))]


@lru_cache(maxsize=128)
def _record_decoder(keys: tuple[str, ...], kind: type) -> Decoder | None:
    """Make a decoder of values of a type; None for keys that msgspec does not take."""
    optional: dict[str, Any] = {} if kind is float else {"default": msgspec.Raw()}
    names = zip(_fields(keys), keys, strict=True)
    fields = [(name, kind, msgspec.field(name=key, **optional)) for name, key in names]
    try:
        return msgspec.json.Decoder(msgspec.defstruct("Record", fields, gc=False))
    except ValueError:  # quotes, backslashes, control characters, lone surrogates
        return None


def _binary_array(tokens: Sequence[Any]) -> pa.Array:
    """Lay JSON texts end to end: ``(records,)`` binary, null where one is empty."""
    whole = binary_array(tokens)
    valid = np.fromiter(map(bool, tokens), np.bool_, len(tokens))
    buffers = [pa.py_buffer(np.packbits(valid, bitorder="little")), *whole.buffers()[1:]]
    return pa.Array.from_buffers(pa.binary(), len(tokens), buffers)


def _contents(tokens: pa.Array) -> pa.Array:
    """Take strings out of their quotes, and read null as absent: ``(records,)`` binary."""
    is_null = pc.equal(tokens, binary_scalar(_NULL))
    tokens = pc.if_else(is_null, pa.nulls(1, pa.binary())[0], tokens)
    is_string = pc.starts_with(tokens, _QUOTE)
    contents = pc.if_else(is_string, pc.binary_slice(tokens, 1, -1), tokens)
    escaped = pc.and_(is_string, pc.match_substring(tokens, b"\\"))
    escaped = pc.fill_null(escaped, bool_scalar(False))
    if not pc.any(escaped).as_py():
        return contents
    texts = [decode_text(token) for token in tokens.filter(escaped).to_pylist()]
    return pc.replace_with_mask(contents, escaped, binary_array(texts))


def _parse_numbers(
    tokens: pa.Array, contents: pa.Array, decimal: Decimal
) -> npt.NDArray[np.float64]:
    """Read values as ``(records,)`` float64; NaN for what is no number."""
    if decimal != ".":  # JSON's own numbers have a point
        own = pc.replace_substring(contents, b".", decimal.encode())
        contents = pc.if_else(pc.starts_with(tokens, _QUOTE), contents, own)
    return parse_numbers(pa.chunked_array([pc.fill_null(contents, binary_scalar(b""))]), decimal)
