"""Read delimited text as blocks of whole records."""

from __future__ import annotations

import csv
from typing import TYPE_CHECKING, Protocol

import numpy as np

from runtime.errors import DataError
from runtime.io.charsets import BOM
from runtime.io.sources import PeekedSource, nonblocking_error
from runtime.tables.arrays import split_bytes
from runtime.tables.csv.records import Positions, count_lines, find_record_ends
from runtime.tables.dialect import COMMA, Dialect, best_delimiter, candidate_dialects, split_record
from runtime.value import Value

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import pyarrow as pa


BLOCK_SIZE = 1536 * 1024  # bytes a read: fewer cost more calls, more leave the caches
_LONGEST_RECORD = 64 * 1024 * 1024  # bytes; longer means a quote that never closes
_DETECTION = 256 * 1024  # bytes of the header in which the delimiter is looked for


class ByteSource(Protocol):
    """Where bytes come from: an unbuffered file or pipe."""

    def read(self, size: int, /) -> bytes | None:
        """Give at most ``size`` bytes, none at the end, None where there are none for now."""


class Header(Value, frozen=True):
    """The first record of a table.

    Attributes:
        columns: the names, quotes removed.
        text: the record as it was read, byte order mark included, terminator excluded.
        terminator: what ends the record.
        dialect: what the table's text looks like.
    """

    columns: tuple[str, ...]
    text: bytes
    terminator: bytes
    dialect: Dialect = COMMA


class Records(Value, frozen=True):
    """Consecutive records as they were read.

    ``data`` begins with the terminator of the record before and ends before the terminator of
    its last record, so that ``data[bounds[i]:bounds[i + 1]]`` is a line break and record ``i``:
    appending to each such piece appends a field to each record.

    Attributes:
        data: the bytes.
        bounds: ``(records + 1,)`` int64.
        first_record: number of the first record, counted from 1 after the header.
        first_line: number of the line that ends where ``data`` begins, counted from 1.
        dialect: what the text looks like.
    """

    data: bytes
    bounds: Positions
    first_record: int
    first_line: int
    dialect: Dialect = COMMA

    def __len__(self) -> int:
        return len(self.bounds) - 1

    def text(self, index: int) -> bytes:
        """Return record ``index`` of the block without its line break."""
        return self.data[self.bounds[index] : self.bounds[index + 1]].lstrip(b"\r\n")

    def pieces(self) -> pa.Array:
        """View the records as ``(records,)`` binary, each led by its line break; not copied."""
        return split_bytes(self.data, self.bounds.astype(np.int32))


class CsvReader:
    """A table read as a stream of blocks."""

    def __init__(
        self,
        stream: ByteSource,
        *,
        where: str,
        block_size: int = BLOCK_SIZE,
        dialect: Dialect = COMMA,
        wanted: Sequence[str] | None = None,
    ) -> None:
        """Read the header."""
        self._stream = PeekedSource(stream, where=where)
        self._where = where
        self._block_size = block_size
        self.tail = b""
        self._dialect = dialect if wanted is None else self._detect(dialect, wanted)
        self.header, self._rest = self._read_header()

    @property
    def bytes_read(self) -> int:
        """Bytes taken from where the table is stored."""
        return self._stream.bytes_read

    def blocks(self) -> Iterator[Records]:
        """Read the records."""
        record, line = 1, count_lines(self.header.text) + 1
        keep_blank = len(self.header.columns) == 1
        rest, at_end = self._rest, False
        while not at_end:
            chunk = self._read(at_least=len(rest))  # doubling: a long record is not scanned again
            at_end = not chunk
            rest += chunk
            bounds = self._bounds(rest, line, keep_blank=keep_blank, at_end=at_end)
            if len(bounds) > 1:
                block = Records(rest[: bounds[-1]], bounds, record, line, self._dialect)
                yield block
                record += len(block)
                line += count_lines(block.data)
                rest = rest[bounds[-1] :]
            if len(rest) > _LONGEST_RECORD:
                raise DataError(
                    f"{self._where}: record {record} is longer than 64 MiB; "
                    "a quoted field probably never closes"
                )
        self.tail = rest

    def _bounds(self, data: bytes, first_line: int, *, keep_blank: bool, at_end: bool) -> Positions:
        """Find the pieces of line break and record that ``data`` begins with.

        A record counts only with its terminator, or at the end of the table.
        """
        breaks = find_record_ends(data, self._dialect.delimiter[0])
        starts, ends = breaks.starts, breaks.ends
        if at_end and breaks.in_quotes:
            line = first_line + count_lines(data[: starts[-1]]) + 1
            raise DataError(
                f"{self._where}: a quote in the record on line {line} never closes; "
                "every record after it would be lost"
            )
        if at_end and len(ends) and ends[-1] < len(data):
            starts = np.append(starts, len(data))
            ends = np.append(ends, len(data))
        if not keep_blank:  # a blank line is no record: it stays with the record after it
            follows_record = np.append(True, starts[1:] > ends[:-1])
            starts = starts[follows_record[: len(starts)]]
        return starts

    def _read(self, at_least: int = 0) -> bytes:
        """Read a block; a pipe gives it in pieces, and between them a signal can be heard."""
        pieces: list[bytes] = []
        missing = max(self._block_size, at_least)
        while missing > 0:
            try:
                piece = self._stream.read(missing)
            except OSError as exc:
                raise DataError(f"cannot read {self._where}: {exc.strerror}") from exc
            if piece is None:
                raise nonblocking_error(self._where)
            if not piece:
                break
            pieces.append(piece)
            missing -= len(piece)
        return b"".join(pieces)

    def _read_header(self) -> tuple[Header, bytes]:
        data = self._read()
        if not data:
            raise DataError(f"{self._where} is empty; a table begins with a line of column names")
        while True:
            breaks = find_record_ends(data.removeprefix(BOM), self._dialect.delimiter[0])
            if len(breaks.starts) and not data.endswith(b"\r"):
                break
            chunk = self._read()
            if not chunk:
                break
            data += chunk
            if len(data) > _LONGEST_RECORD:
                raise DataError(f"{self._where} has no line end in its first 64 MiB: no CSV table")
        if breaks.in_quotes and not len(breaks.starts):
            raise DataError(f"{self._where}: a quote in the header never closes")
        skip = len(data) - len(data.removeprefix(BOM))
        start, end = (
            (int(breaks.starts[0]) + skip, int(breaks.ends[0]) + skip)
            if len(breaks.starts)
            else (len(data), len(data))
        )
        text = data[:start]
        names = self._names(text[skip:])
        return Header(names, text, data[start:end] or b"\n", self._dialect), data[start:]

    def _names(self, text: bytes) -> tuple[str, ...]:
        encoding = self._dialect.encoding
        try:
            decoded = encoding.decode(text)
        except UnicodeDecodeError as exc:
            raise DataError(
                f"{self._where}: the header is no {encoding.name.upper()} text "
                f"(byte {exc.start + 1}); if it is text, say in which encoding: --encoding cp1252"
            ) from exc
        if "\0" in decoded:
            raise DataError(f"{self._where}: the header has NUL bytes; is this a CSV table?")
        try:
            names = split_record(decoded, self._dialect.delimiter)
        except csv.Error as exc:
            raise DataError(  # the one thing that Python's reader refuses
                f"{self._where}: a column's name has more than {csv.field_size_limit():,} "
                "characters; is this a table with a line of column names?"
            ) from exc
        if not any(names):
            raise DataError(f"{self._where} has no column names in its first line")
        return tuple(names)

    def _detect(self, dialect: Dialect, wanted: Sequence[str]) -> Dialect:
        """Find the delimiter under which the header looks best."""
        head = self._stream.peek(_DETECTION).removeprefix(BOM)
        candidates = candidate_dialects(dialect)
        headers = [_header_under(candidate, head) for candidate in candidates]
        return candidates[best_delimiter(headers, wanted)]


def _header_under(dialect: Dialect, head: bytes) -> list[str]:
    """Read the column names in a table's first bytes; none where they are not complete."""
    breaks = find_record_ends(head, dialect.delimiter[0])
    if breaks.in_quotes and not len(breaks.starts):
        head = head.replace(b'"', b"")  # it never closes: what it would be without
        breaks = find_record_ends(head, dialect.delimiter[0])
    text = head[: breaks.starts[0]] if len(breaks.starts) else head
    try:
        return split_record(dialect.encoding.decode(text, "replace"), dialect.delimiter)
    except csv.Error:
        return []
