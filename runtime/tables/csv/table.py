"""Delimited text as a table: its records stay the bytes they were read as."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa

from runtime.tables.csv.features import (
    describe_bad_rows,
    fit_to_header,
    parse_features,
    read_cell_texts,
    to_utf8,
)
from runtime.value import Value

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from runtime.tables.base import BadRow, CellEncoder, Parsed, RowIssue
    from runtime.tables.csv.reader import CsvReader, Header, Records
    from runtime.tables.dialect import Dialect


class CsvBlock(Value, frozen=True):
    """Consecutive records of delimited text; see ``runtime.tables.base.Records``.

    Attributes:
        records: the bytes, and where each record begins.
        header: of the table.
    """

    records: Records
    header: Header

    @property
    def first_record(self) -> int:
        """Number of its first record, counted from 1."""
        return self.records.first_record

    def __len__(self) -> int:
        return len(self.records)

    def parse(self, features: Sequence[int], encoder: CellEncoder) -> Parsed:
        """Read the feature cells."""
        return parse_features(self.records, self.header.columns, features, encoder)

    def report(self, faults: Mapping[int, RowIssue]) -> tuple[BadRow, ...]:
        """Describe records that cannot be scored."""
        return describe_bad_rows(self.records, len(self.header.columns), faults)

    def select(self, columns: Sequence[int]) -> pa.RecordBatch:
        """Give cells as text in UTF-8, quotes removed; bytes that do not decode stay."""
        cells = self.cells(columns)
        cells = [to_utf8(column, self.header.dialect.encoding) for column in cells]
        return pa.RecordBatch.from_arrays(cells, [self.header.columns[at] for at in columns])

    def cells(self, columns: Sequence[int]) -> list[pa.Array]:
        """Give cells as they were read, quotes removed: ``(records,)`` binary a column."""
        return read_cell_texts(self.records, len(self.header.columns), columns)

    def pieces(self, misfits: Sequence[int]) -> pa.Array:
        """View the records as they were read, each led by its line break."""
        return fit_to_header(self.records, len(self.header.columns), misfits)


class CsvTable:
    """Delimited text, opened for reading; see ``runtime.tables.base.Table``."""

    def __init__(self, reader: CsvReader, kind: str = "csv") -> None:
        """Take a reader that has read its header, and the table's format."""
        self.kind = kind
        self._reader = reader
        self.header = reader.header

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of its columns, in order."""
        return self.header.columns

    @property
    def dialect(self) -> Dialect:
        """What the text looks like."""
        return self.header.dialect

    @property
    def bytes_read(self) -> int:
        """Bytes of text read so far."""
        return self._reader.bytes_read

    @property
    def tail(self) -> bytes:
        """What follows the last record, once all blocks were read."""
        return self._reader.tail

    def layout_hint(self, features: Sequence[str]) -> str:
        """Guess what a header is in which the features are not found."""
        from runtime.tables.csv.hints import layout_hint

        return layout_hint(self.header, features) or ""

    def check_numeric(self, features: Sequence[int]) -> None:
        """Refuse nothing: text can be a number."""

    def blocks(self, columns: Sequence[int]) -> Iterator[CsvBlock]:  # noqa: ARG002 - all are read
        """Read the records."""
        for block in self._reader.blocks():
            yield CsvBlock(block, self.header)
