"""Read delimited text as blocks of complete records."""

from __future__ import annotations

import csv
import re
from typing import TYPE_CHECKING, Final

import numpy as np
from msgspec.structs import replace

from runtime.errors import DataError
from runtime.io.charsets import BOM
from runtime.io.sources import MAX_RECORD_BYTES, PeekedSource, read_chunk
from runtime.surfaces import advise_encoding, option
from runtime.tables.arrays import split_bytes
from runtime.tables.csv.records import Offsets, count_lines, find_record_ends
from runtime.tables.dialect import (
    COMMA,
    FORBIDDEN_DELIMITERS,
    Dialect,
    best_header,
    candidate_dialects,
    split_record,
)
from runtime.value import Value

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import pyarrow as pa

    from runtime.io.streams import ByteSource
    from runtime.tables.spans import SpanSource


BLOCK_SIZE = 1536 * 1024  # bytes: smaller blocks cost more calls, larger ones exceed the caches
_DETECTION_BYTES = 256 * 1024  # of the header
# Excel's; saved again, it is quoted, or followed by a delimiter per column.
_SEPARATOR_LINE: Final = re.compile(
    rb"(?:\xef\xbb\xbf)?(\"?)sep=([\x01-\x7f])(?<!["
    + re.escape(FORBIDDEN_DELIMITERS)
    + rb"0-9a-z])\2*\1(?:\r\n|\n|\r)",
    re.IGNORECASE,
)


class Preamble(Value, frozen=True):
    """What is before the header: a byte order mark, and a line ``sep=;`` for Excel.

    Attributes:
        text: as it was read.
        delimiter: that the line declares; None without one.
    """

    text: bytes = b""
    delimiter: bytes | None = None


class Header(Value, frozen=True):
    """The header of a table.

    Attributes:
        columns: names, without quotes.
        text: the record as it was read, with the preamble, without its terminator.
        terminator: of the record.
        dialect: of the table.
        preamble: what is before the record.
    """

    columns: tuple[str, ...]
    text: bytes
    terminator: bytes
    dialect: Dialect = COMMA
    preamble: Preamble = Preamble()

    @property
    def names(self) -> bytes:
        """The record without what is before it."""
        return self.text.removeprefix(self.preamble.text)


class Records(Value, frozen=True):
    """Consecutive records as they were read.

    ``data[bounds[i]:bounds[i + 1]]`` is the terminator of the previous record, then record ``i``
    without its own: fields are appended at its end.

    Attributes:
        data: the bytes.
        bounds: ``(records + 1,)`` int64.
        first_record: number of the first record, counted from 1 after the header.
        first_line: number of the line that ends at the start of ``data``, counted from 1.
        dialect: of the text.
    """

    data: bytes
    bounds: Offsets
    first_record: int
    first_line: int
    dialect: Dialect = COMMA

    def __len__(self) -> int:
        return len(self.bounds) - 1

    def text(self, index: int) -> bytes:
        """Get record ``index`` without line breaks."""
        return self.data[self.bounds[index] : self.bounds[index + 1]].lstrip(b"\r\n")

    def raw_records(self) -> pa.Array:
        """View the records as ``(records,)`` binary, each after a line break."""
        return split_bytes(self.data, self.bounds.astype(np.int32))


class CsvReader:
    """Reads a table as blocks of records.

    Attributes:
        header: of the table.
        tail: bytes after the last record, once all blocks were read.
        span: the records to read, to be set before them; None for all.
    """

    def __init__(
        self,
        stream: ByteSource,
        *,
        where: str,
        block_size: int = BLOCK_SIZE,
        dialect: Dialect = COMMA,
        detect_by: Sequence[str] | None = None,
    ) -> None:
        """Read the header; names in ``detect_by`` detect the delimiter."""
        self._stream = PeekedSource(stream, where=where)
        self._where = where
        self._block_size = block_size
        self.span: SpanSource | None = None
        self.tail = b""
        self._preamble = self._read_preamble()
        self._dialect = self._choose_dialect(dialect, detect_by)
        self.header, self._rest = self._read_header()

    @property
    def bytes_read(self) -> int:
        """Bytes read from storage."""
        return self._stream.bytes_read

    def blocks(self) -> Iterator[Records]:
        """Read the records."""
        if self.span:
            record, line = self.span.span.first_record, self.span.span.first_line
            with self.span.open() as stream:
                yield from self._read_blocks(stream, b"", record, line)
        else:
            line = count_lines(self.header.text) + 1
            yield from self._read_blocks(self._stream, self._rest, 1, line)

    def _read_blocks(
        self, stream: ByteSource, rest: bytes, record: int, line: int
    ) -> Iterator[Records]:
        """Read records from a stream, after ``rest``; see ``Records`` for the numbers."""
        keep_blank, at_end = len(self.header.columns) == 1, False
        while not at_end:
            size = max(self._block_size, len(rest))
            chunk = read_chunk(
                stream, size, self._where
            )  # doubled, lest a long record be scanned often
            at_end = not chunk
            rest += chunk
            bounds = self._find_bounds(rest, line, keep_blank=keep_blank, at_end=at_end)
            if len(bounds) > 1:
                block = Records(rest[: bounds[-1]], bounds, record, line, self._dialect)
                yield block
                record += len(block)
                line += count_lines(block.data)
                rest = rest[bounds[-1] :]
            if len(rest) > MAX_RECORD_BYTES:
                raise DataError(
                    f"{self._where}: record {record} is longer than 64 MiB; "
                    "a quoted field is probably not closed"
                )
        self.tail = rest

    def _find_bounds(
        self, data: bytes, first_line: int, *, keep_blank: bool, at_end: bool
    ) -> Offsets:
        """Find the bounds of the complete records in ``data``; see ``Records``."""
        breaks = find_record_ends(data, self._dialect.delimiter[0])
        starts, ends = breaks.starts, breaks.ends
        if at_end and breaks.in_quotes:
            line = first_line + count_lines(data[: starts[-1]]) + 1
            raise DataError(
                f"{self._where}: a quote in the record on line {line} is not closed; "
                "the records after it would be lost"
            )
        if at_end and len(ends) and ends[-1] < len(data):
            starts = np.append(starts, len(data))
            ends = np.append(ends, len(data))
        if not keep_blank:  # a blank line is not a record: it belongs to the record after it
            follows_record = np.append(True, starts[1:] > ends[:-1])
            starts = starts[follows_record[: len(starts)]]
        return starts

    def _read(self) -> bytes:
        return read_chunk(self._stream, self._block_size, self._where)

    def _read_preamble(self) -> Preamble:
        head = self._stream.peek()
        line = _SEPARATOR_LINE.match(head)
        size = line.end() if line else len(BOM) * head.startswith(BOM)
        text = read_chunk(self._stream, size, self._where)
        return Preamble(text, line[2] if line else None)

    def _choose_dialect(self, dialect: Dialect, detect_by: Sequence[str] | None) -> Dialect:
        """Choose the delimiter that is declared, given or, by these names, detected."""
        declared = self._preamble.delimiter
        if declared is None:
            return dialect if detect_by is None else self._detect(dialect, detect_by)
        if detect_by is None and declared != dialect.delimiter:
            raise DataError(
                f"{self._where}: the first line declares the delimiter {declared.decode()!r}, but "
                f"{option('delimiter')} or the format says {dialect.delimiter.decode()!r}: leave "
                "that out, or remove the line"
            )
        return replace(dialect, delimiter=declared)

    def _read_header(self) -> tuple[Header, bytes]:
        data = self._read()
        if not data and not self._preamble.text:
            raise DataError(f"{self._where} is empty; a table starts with a line of column names")
        while True:
            breaks = find_record_ends(data, self._dialect.delimiter[0])
            if len(breaks.starts) and not data.endswith(b"\r"):
                break
            chunk = self._read()
            if not chunk:
                break
            data += chunk
            if len(data) > MAX_RECORD_BYTES:
                raise DataError(
                    f"{self._where} has no line end in its first 64 MiB: not a CSV table"
                )
        if breaks.in_quotes and not len(breaks.starts):
            raise DataError(f"{self._where}: a quote in the header is not closed")
        start, end = (
            (int(breaks.starts[0]), int(breaks.ends[0]))
            if len(breaks.starts)
            else (len(data), len(data))
        )
        names = self._parse_names(data[:start])
        text, terminator = self._preamble.text + data[:start], data[start:end] or b"\n"
        return Header(names, text, terminator, self._dialect, self._preamble), data[start:]

    def _parse_names(self, text: bytes) -> tuple[str, ...]:
        encoding = self._dialect.encoding
        try:
            decoded = encoding.decode(text)
        except UnicodeDecodeError as exc:
            raise DataError(
                f"{self._where}: the header is not {encoding.name.upper()} text "
                f"(byte {exc.start + 1}); {advise_encoding()}"
            ) from exc
        if "\0" in decoded:
            raise DataError(f"{self._where}: the header has NUL bytes; is this a CSV table?")
        try:
            names = split_record(decoded, self._dialect.delimiter)
        except csv.Error as exc:
            raise DataError(  # csv's only error here
                f"{self._where}: a column's name has more than {csv.field_size_limit():,} "
                "characters; is this a table with a line of column names?"
            ) from exc
        if not any(names):
            raise DataError(f"{self._where} has no column names in its first line")
        return tuple(names)

    def _detect(self, dialect: Dialect, required: Sequence[str]) -> Dialect:
        """Detect the delimiter by the header."""
        head = self._stream.peek(_DETECTION_BYTES)
        candidates = candidate_dialects(dialect)
        headers = [_split_header(candidate, head) for candidate in candidates]
        return candidates[best_header(headers, required)]


def _split_header(dialect: Dialect, head: bytes) -> list[str]:
    """Split the header in the first bytes of a table; empty if it cannot be parsed."""
    breaks = find_record_ends(head, dialect.delimiter[0])
    if breaks.in_quotes and not len(breaks.starts):
        head = head.replace(b'"', b"")  # a quote is not closed
        breaks = find_record_ends(head, dialect.delimiter[0])
    text = head[: breaks.starts[0]] if len(breaks.starts) else head
    try:
        return split_record(dialect.encoding.decode(text, "replace"), dialect.delimiter)
    except csv.Error:
        return []
