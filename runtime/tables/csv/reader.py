"""Read delimited text as blocks of complete records."""

from __future__ import annotations

import csv
from typing import TYPE_CHECKING

import numpy as np

from runtime.errors import DataError
from runtime.io.charsets import BOM
from runtime.io.sources import MAX_RECORD_BYTES, PeekedSource, read_chunk
from runtime.tables.arrays import split_bytes
from runtime.tables.csv.records import Offsets, count_lines, find_record_ends
from runtime.tables.dialect import COMMA, Dialect, best_header, candidate_dialects, split_record
from runtime.value import Value

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import pyarrow as pa

    from runtime.io.streams import ByteSource


BLOCK_SIZE = 1536 * 1024  # bytes: smaller blocks cost more calls, larger ones exceed the caches
_DETECTION_BYTES = 256 * 1024  # of the header


class Header(Value, frozen=True):
    """The header of a table.

    Attributes:
        columns: names, without quotes.
        text: the record as it was read, with its byte order mark, without its terminator.
        terminator: of the record.
        dialect: of the table.
    """

    columns: tuple[str, ...]
    text: bytes
    terminator: bytes
    dialect: Dialect = COMMA


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
    """Reads a table as blocks of records."""

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
        self.tail = b""
        self._dialect = dialect if detect_by is None else self._detect(dialect, detect_by)
        self.header, self._rest = self._read_header()

    @property
    def bytes_read(self) -> int:
        """Bytes read from storage."""
        return self._stream.bytes_read

    def blocks(self) -> Iterator[Records]:
        """Read the records."""
        record, line = 1, count_lines(self.header.text) + 1
        keep_blank = len(self.header.columns) == 1
        rest, at_end = self._rest, False
        while not at_end:
            chunk = self._read(at_least=len(rest))  # doubled, lest a long record be scanned often
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

    def _read(self, at_least: int = 0) -> bytes:
        return read_chunk(self._stream, max(self._block_size, at_least), self._where)

    def _read_header(self) -> tuple[Header, bytes]:
        data = self._read()
        if not data:
            raise DataError(f"{self._where} is empty; a table starts with a line of column names")
        while True:
            breaks = find_record_ends(data.removeprefix(BOM), self._dialect.delimiter[0])
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
        skip = len(data) - len(data.removeprefix(BOM))
        start, end = (
            (int(breaks.starts[0]) + skip, int(breaks.ends[0]) + skip)
            if len(breaks.starts)
            else (len(data), len(data))
        )
        text = data[:start]
        names = self._parse_names(text[skip:])
        return Header(names, text, data[start:end] or b"\n", self._dialect), data[start:]

    def _parse_names(self, text: bytes) -> tuple[str, ...]:
        encoding = self._dialect.encoding
        try:
            decoded = encoding.decode(text)
        except UnicodeDecodeError as exc:
            raise DataError(
                f"{self._where}: the header is not {encoding.name.upper()} text "
                f"(byte {exc.start + 1}); give its encoding, such as --encoding cp1252"
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
        head = self._stream.peek(_DETECTION_BYTES).removeprefix(BOM)
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
