"""Delimited text as a table: its records stay the bytes they were read as."""

from __future__ import annotations

import csv
import re
from typing import TYPE_CHECKING, Final

import pyarrow as pa

from runtime.schema.names import fold_name
from runtime.surfaces import advise
from runtime.tables.csv.features import (
    describe_bad_rows,
    fit_to_header,
    parse_features,
    read_cell_texts,
    to_utf8,
)
from runtime.tables.dialect import FORBIDDEN_DELIMITERS, split_record
from runtime.value import Value

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from runtime.choices import Decimal
    from runtime.tables.base import BadRow, CellEncoder, Parsed, RowIssue
    from runtime.tables.csv.reader import CsvReader, Header, Records
    from runtime.tables.dialect import Dialect


_NUMBER: Final = r"\s*[+-]?([0-9]+[.,]?[0-9]*|[.,][0-9]+)([eE][+-]?[0-9]+)?\s*"


class CsvBlock(Value, frozen=True):
    """Consecutive records of delimited text; see ``runtime.tables.base.Block``.

    Attributes:
        records: the bytes and the bounds of each record.
        header: of the table.
    """

    records: Records
    header: Header

    @property
    def first_record(self) -> int:
        """Number of the first record, counted from 1."""
        return self.records.first_record

    def __len__(self) -> int:
        return len(self.records)

    def parse(self, features: Sequence[int], encoder: CellEncoder) -> Parsed:
        """Parse the feature cells."""
        return parse_features(self.records, self.header.columns, features, encoder)

    def report(self, issues: Mapping[int, RowIssue]) -> tuple[BadRow, ...]:
        """Describe records that cannot be scored."""
        return describe_bad_rows(self.records, len(self.header.columns), issues)

    def select(self, columns: Sequence[int]) -> pa.RecordBatch:
        """Read cells in UTF-8, without quotes; undecodable bytes are kept."""
        cells = self.cells(columns)
        cells = [to_utf8(column, self.header.dialect.encoding) for column in cells]
        return pa.RecordBatch.from_arrays(cells, [self.header.columns[index] for index in columns])

    def cells(self, columns: Sequence[int]) -> list[pa.Array]:
        """Read cells without quotes: ``(records,)`` binary per column."""
        return read_cell_texts(self.records, len(self.header.columns), columns)

    def raw_records(self, misfits: Sequence[int]) -> pa.Array:
        """View the records, each after a line break; ``misfits`` are fit to the header."""
        return fit_to_header(self.records, len(self.header.columns), misfits)


class CsvTable:
    """Delimited text, opened for reading; see ``runtime.tables.base.Table``."""

    def __init__(self, reader: CsvReader, kind: str = "csv") -> None:
        """Wrap a reader that has read its header."""
        self.kind = kind
        self._reader = reader
        self.header = reader.header

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of its columns, in order."""
        return self.header.columns

    @property
    def arrow_schema(self) -> None:
        """None: text has no types."""

    @property
    def dialect(self) -> Dialect:
        """Dialect of the text."""
        return self.header.dialect

    @property
    def bytes_read(self) -> int:
        """Bytes of text read so far."""
        return self._reader.bytes_read

    @property
    def tail(self) -> bytes:
        """Bytes after the last record, once all blocks are read."""
        return self._reader.tail

    @property
    def decimals(self) -> tuple[Decimal, ...]:
        """Decimal sign of its numbers."""
        return (self.dialect.decimal,)

    @property
    def absent(self) -> tuple[str, ...]:
        """No column: the header has all."""
        return ()

    def find_columns(self, names: Sequence[str] | None = None) -> None:
        """Do nothing: the header has all columns."""

    def layout_hint(self, features: Sequence[str]) -> str:
        """Suggest why features are missing from the header."""
        return _layout_hint(self.header, features)

    def check_numeric(self, features: Sequence[int]) -> None:
        """Accept all columns: text can be a number."""

    def blocks(self, columns: Sequence[int]) -> Iterator[CsvBlock]:  # noqa: ARG002 - all are read
        """Read the records."""
        for block in self._reader.blocks():
            yield CsvBlock(block, self.header)


def _layout_hint(header: Header, required: Sequence[str]) -> str:
    """Suggest an option or a fix; empty without a suggestion."""
    first = header.columns[0]
    if re.match(r'\s*\{\s*("|$)', first):
        return f"the first line looks like JSON Lines: {advise('format', 'jsonl')}"
    if all(re.fullmatch(_NUMBER, name) for name in header.columns):
        return "the first line has only numbers: add a line with the column names above it"
    folded = set(map(fold_name, required))
    if folded <= set(map(fold_name, header.columns)):
        return ""  # only the spelling differs: the delimiter is right
    text = header.dialect.encoding.decode(header.names, "replace")
    delimiter = _other_delimiter(text, header.dialect.delimiter.decode(), folded)
    if delimiter is None:
        return ""
    if header.preamble.delimiter:
        return (
            f"the names are separated by {delimiter!r}, but the first line declares "
            f"{header.preamble.delimiter.decode()!r}: correct or remove that line"
        )
    return f"the names are separated by {delimiter!r}: {advise('delimiter', delimiter)}"


def _other_delimiter(text: str, used: str, folded: set[str]) -> str | None:
    """Find a delimiter other than ``used`` under which the header has all folded names."""
    candidates = {char for char in text if char.isascii() and not char.isalnum()} - {used}
    for delimiter in sorted(candidates.difference(FORBIDDEN_DELIMITERS.decode())):
        try:
            names = split_record(text, delimiter.encode())
        except csv.Error:
            continue
        if folded <= set(map(fold_name, names)):
            return delimiter
    return None
