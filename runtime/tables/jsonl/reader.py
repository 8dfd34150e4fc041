"""Read JSON Lines as a stream of blocks, which keep the bytes as read."""

from __future__ import annotations

from typing import TYPE_CHECKING

from runtime.errors import DataError
from runtime.io.sources import MAX_RECORD_BYTES, PeekedSource, read_chunk
from runtime.printable import list_names
from runtime.schema.names import fold_name
from runtime.tables.base import RowIssue
from runtime.tables.csv.records import count_lines
from runtime.tables.dialect import COMMA, Dialect
from runtime.tables.jsonl.block import JsonLinesBlock, Keys
from runtime.tables.jsonl.decoding import find_keys
from runtime.tables.jsonl.lines import find_records
from runtime.tables.jsonl.records import parse_members
from runtime.tables.jsonl.writer import JsonLinesAppender

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import pyarrow as pa

    from runtime.choices import Decimal
    from runtime.io.sinks import Sink
    from runtime.io.streams import ByteSource
    from runtime.tables.driver import Reopen
    from runtime.tables.spans import Span, SpanSource

BLOCK_SIZE = 512 * 1024  # bytes a read: efficient inference in little memory
_BOM = b"\xef\xbb\xbf"


class JsonLinesTable:
    """A JSON Lines table; see ``runtime.tables.base.Table``.

    Attributes:
        head: byte order mark before the first record.
        tail: blank lines after the last record, once all blocks were read.
        span: the records to read, to be set before them; None for all.
    """

    def __init__(
        self,
        stream: ByteSource,
        *,
        where: str,
        required: Sequence[str],
        block_size: int = BLOCK_SIZE,
        decimal: Decimal = ".",
        reopen: Reopen | None = None,
    ) -> None:
        """Read the first block; see ``ReadPlan`` for ``required`` and ``reopen``."""
        self.kind: str = "jsonl"
        self._stream = PeekedSource(stream, where=where)
        self._where, self._block_size, self._decimal = where, block_size, decimal
        self._required, self._reopen = required, reopen
        self._keys, self._at_end = Keys(), False
        self.head = self.tail = b""
        self.span: SpanSource | None = None
        self._blocks = self._read_blocks(self._stream)
        self._first = next(self._blocks, None)
        if self._first is None:
            raise DataError(
                f"{where} is empty; a table begins with a record, one JSON object a line"
            )
        keys = find_keys(self._first.lines, ())
        if not keys and not self._first.objects().any():
            raise self._not_a_table(self._first, required)
        self._set_keys(keys, len(self._first))

    @property
    def columns(self) -> tuple[str, ...]:
        """The keys of the first block's records, or of all, in order of first appearance."""
        return self._keys.found

    @property
    def absent(self) -> tuple[str, ...]:
        """Required keys that no record read so far has."""
        return tuple(key for key in self._keys.required if key not in self._keys.read)

    @property
    def arrow_schema(self) -> None:
        """None: JSON has no types of columns."""

    @property
    def dialect(self) -> Dialect:
        """The dialect of the table as delimited text."""
        return COMMA

    @property
    def bytes_read(self) -> int:
        """Bytes read from storage."""
        return self._stream.bytes_read

    @property
    def decimals(self) -> tuple[Decimal, ...]:
        """Decimal signs of its numbers, and of the numbers in its texts."""
        return (".",) if self._decimal == "." else (".", self._decimal)

    def find_columns(self, names: Sequence[str] | None = None) -> None:
        """Find the keys of all records of a file; of a pipe, those of the first block are known."""
        is_needed = names is None or not set(self.columns).issuperset(names)
        is_first_block = self._keys.records == len(self._first or ())
        if is_needed and is_first_block and self._reopen and not self._at_end:
            with self._reopen() as stream:
                again = JsonLinesTable(stream, where=self._where, required=())
                keys, records = again.columns, 0
                for block in again.blocks(()):
                    keys, records = find_keys(block.lines, keys), records + len(block)
            self._set_keys(keys, records)
        self._keys.closed = self._keys.closed or names is None

    def _set_keys(self, found: tuple[str, ...], records: int) -> None:
        """Set the keys; a required one that has another case or blanks here is an error later."""
        folded = set(map(fold_name, found))
        self._keys.found, self._keys.records = found, records
        self._keys.required = tuple(key for key in self._required if fold_name(key) not in folded)

    def layout_hint(self, features: Sequence[str]) -> str:  # noqa: ARG002 - see the protocol
        """Report where the keys were searched, unless in all records."""
        if self._reopen or self._at_end:
            return ""
        return (
            f"only its first {self._keys.records:,} records were searched: give it as a file, "
            "of which all are"
        )

    def check_numeric(self, features: Sequence[int]) -> None:
        """Accept all columns: JSON has no column types."""

    def blocks(self, columns: Sequence[int]) -> Iterator[JsonLinesBlock]:  # noqa: ARG002 - reads all
        """Read the records."""
        if self.span:
            self._at_end = False
            with self.span.open() as stream:
                yield from self._read_blocks(stream, self.span.span)
            return
        if self._first is not None:
            yield self._first
            self._first = None
        yield from self._blocks

    def appender(self, sink: Sink, added: Sequence[pa.Field]) -> JsonLinesAppender:
        """Begin an output of these records with new members."""
        return JsonLinesAppender(sink, added, self)

    def _read_blocks(
        self, source: ByteSource, span: Span | None = None
    ) -> Iterator[JsonLinesBlock]:
        record, line = (span.first_record, span.first_line) if span else (1, 1)
        rest, started = b"", span is not None
        while not self._at_end:
            size = max(self._block_size, len(rest))  # doubling: a long line is not scanned again
            chunk = read_chunk(source, size, self._where)
            self._at_end = len(chunk) < size
            rest += chunk
            if not started and not self._at_end and len(rest) < len(_BOM):
                continue
            if not started and rest.startswith(_BOM):
                self.head, rest = _BOM, rest[len(_BOM) :]
            started = True
            lines = find_records(rest, at_end=self._at_end)
            if len(lines):
                yield JsonLinesBlock(lines, record, line, self._keys, self._where, self._decimal)
                record += len(lines)
                line += count_lines(lines.data)
                rest = rest[len(lines.data) :]
            if len(rest) > MAX_RECORD_BYTES:
                raise DataError(
                    f"{self._where}: record {record} is longer than 64 MiB; JSON Lines has one "
                    "object a line"
                )
        self.tail = rest

    def _not_a_table(self, first: JsonLinesBlock, required: Sequence[str]) -> DataError:
        text = first.lines.text(0)
        if text.strip(b" \t").startswith(b"["):
            hint = "line 1 begins an array: write each of its objects on its own line"
        else:
            found = parse_members(text)
            hint = f"record 1 is {found.reason}" if isinstance(found, RowIssue) else ""
        return DataError(
            f"{self._where}: none of the first {len(first)} records is a JSON object with keys "
            f"such as {list_names(required)} ({hint}); JSON Lines has one object a line"
        )
