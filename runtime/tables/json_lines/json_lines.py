"""Read JSON Lines: one JSON object a line, each a record.

In: a binary stream of UTF-8. Out: the columns, which are the keys of the first records, and
``JsonBlock`` s in order, each the very bytes that were read. Raises ``DataError`` for a file that
is none.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from runtime.errors import DataError
from runtime.io.sources import MAX_RECORD_BYTES, PeekedSource, read_chunk
from runtime.tables.base import RowIssue
from runtime.tables.csv.records import count_lines
from runtime.tables.dialect import COMMA, Dialect
from runtime.tables.json_lines.json_block import JsonBlock
from runtime.tables.json_lines.json_cells import read_keys
from runtime.tables.json_lines.json_record import read_members
from runtime.tables.json_lines.lines import BLANKS, find_filled, find_lines

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from runtime.choices import Decimal
    from runtime.io.streams import ByteSource

BLOCK_SIZE = 512 * 1024  # bytes a read: enough to fill the engine, little memory
_BOM = b"\xef\xbb\xbf"


class JsonLinesTable:
    """A JSON Lines table read as a stream of blocks.

    Attributes:
        columns: the keys of the first block's records, in order of first appearance.
        head: what stands before the first record and belongs to none: a byte order mark.
        tail: what follows the last record, once all were read: blank lines.
    """

    def __init__(
        self,
        stream: ByteSource,
        *,
        where: str,
        wanted: Sequence[str],
        block_size: int = BLOCK_SIZE,
        decimal: Decimal = ".",
    ) -> None:
        """Read the first block.

        Args:
            stream: JSON Lines in UTF-8, with or without a byte order mark.
            where: name of the table for messages.
            wanted: keys that matter; those alone are looked for when the file is no table.
            block_size: bytes asked for in one read.
            decimal: the sign before a fraction in strings.

        Raises:
            DataError: when there are no records, or none of the first ones has a key.
        """
        self.kind: str = "jsonl"
        self._stream = PeekedSource(stream, where=where)
        self._where, self._block_size, self._decimal = where, block_size, decimal
        self.columns: tuple[str, ...] = ()
        self.head = self.tail = b""
        self._blocks = self._read_blocks()
        self._first = next(self._blocks, None)
        if self._first is None:
            raise DataError(
                f"{where} is empty; a table begins with a record, one JSON object a line"
            )
        self.columns = self._first.columns = self._find_columns(self._first, wanted)

    @property
    def dialect(self) -> Dialect:
        """How its cells are written as delimited text."""
        return COMMA

    @property
    def bytes_read(self) -> int:
        """Bytes taken from where the table is stored."""
        return self._stream.bytes_read

    def layout_hint(self, features: Sequence[str]) -> str:  # noqa: ARG002 - names are certain here
        """Guess nothing: the names are not split off a line."""
        return ""

    def check_numeric(self, features: Sequence[int]) -> None:
        """Refuse nothing: any value can be a number."""

    def blocks(self, columns: Sequence[int]) -> Iterator[JsonBlock]:  # noqa: ARG002 - all are read
        """Read the records.

        Args:
            columns: positions of those that will be asked for; all are read in any case.

        Yields:
            Blocks in order; afterwards ``tail`` is what follows the last record.

        Raises:
            DataError: when the stream breaks off, or a line is longer than 64 MiB.
        """
        if self._first is not None:
            yield self._first
            self._first = None
        yield from self._blocks

    def _read_blocks(self) -> Iterator[JsonBlock]:
        record, line = 1, 1
        rest, at_end, begun = b"", False, False
        while not at_end:
            size = max(self._block_size, len(rest))  # doubling: a long line is not scanned again
            chunk = read_chunk(self._stream, size, self._where)
            at_end = len(chunk) < size
            rest += chunk
            if not begun and (at_end or len(rest) >= len(_BOM)):
                begun = True
                self.head = _BOM if rest.startswith(_BOM) else b""
                rest = rest[len(self.head) :]
            if not begun:
                continue
            block = self._cut(rest, record, line, at_end=at_end)
            if block is not None:
                yield block
                record += len(block)
                line += count_lines(block.data)
                rest = rest[len(block.data) :]
            if len(rest) > MAX_RECORD_BYTES:
                raise DataError(
                    f"{self._where}: record {record} is longer than 64 MiB; JSON Lines has one "
                    "object a line"
                )
        self.tail = rest

    def _cut(self, data: bytes, record: int, line: int, *, at_end: bool) -> JsonBlock | None:
        """Take the whole records that ``data`` begins with; None where there are none yet."""
        lines = find_lines(data, at_end=at_end)
        filled = find_filled(data, lines)
        if not filled.any():
            return None
        ends = lines.ends[filled]
        return JsonBlock(
            data=data[: ends[-1]],
            bounds=np.append(0, ends),
            starts=lines.starts[filled],
            stops=lines.stops[filled],
            first_record=record,
            first_line=line,
            columns=self.columns,
            where=self._where,
            decimal=self._decimal,
        )

    def _find_columns(self, first: JsonBlock, wanted: Sequence[str]) -> tuple[str, ...]:
        keys = read_keys(first)
        if keys:
            return tuple(keys)
        text = first.text(0)
        if text.strip(BLANKS).startswith(b"["):
            hint = "line 1 begins an array: write each of its objects on a line of its own"
        else:
            found = read_members(text)
            hint = (
                f"record 1 is {found.reason}" if isinstance(found, RowIssue) else "record 1 is {}"
            )
        names = ", ".join(map(repr, wanted))
        raise DataError(
            f"{self._where}: none of the first {len(first)} records is a JSON object with keys "
            f"such as {names} ({hint}); JSON Lines has one object a line"
        )
