"""Parquet and Arrow IPC as tables of typed columns."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import pyarrow as pa
from msgspec.structs import replace

from runtime.errors import DataError, first_line
from runtime.schema.names import repeated_names
from runtime.tables.arrays import filter_rows
from runtime.tables.arrow.features import check_types, find_issues, read_columns
from runtime.tables.base import BadRow, Parsed, RowIssue
from runtime.tables.dialect import COMMA, Dialect
from runtime.value import Value

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from runtime.choices import Decimal
    from runtime.tables.base import CellEncoder


BATCH_ROWS = 65_536  # a whole number of every batch size in the parity proof


class ArrowBlock(Value, frozen=True):
    """Consecutive rows of typed columns; see ``runtime.tables.base.Block``.

    Attributes:
        batch: the columns that were read.
        first_record: number of the first row, counted from 1.
        positions: index in ``batch`` of each column, by its index in the table.
        decimal: the decimal sign in columns of text.
    """

    batch: pa.RecordBatch
    first_record: int
    positions: Mapping[int, int]
    decimal: Decimal = "."

    def __len__(self) -> int:
        rows: int = self.batch.num_rows
        return rows

    def parse(self, features: Sequence[int], encoder: CellEncoder) -> Parsed:
        """Parse the feature columns."""
        columns = [self.batch.column(self.positions[index]) for index in features]
        encoded = encoder.encode(read_columns(columns, encoder, self.decimal))
        if encoded.usable.all():
            return Parsed(encoded.matrix, None, ())
        names = [self.batch.schema.names[self.positions[index]] for index in features]
        good = np.asarray(encoded.usable.all(axis=1))
        dialect = replace(COMMA, decimal=self.decimal)
        issues = find_issues(dict(zip(names, columns, strict=True)), encoded, encoder, dialect)
        return Parsed(encoded.matrix[good], good, self.report(issues))

    def report(self, issues: Mapping[int, RowIssue]) -> tuple[BadRow, ...]:
        """Describe rows that cannot be scored; their text is JSON."""
        from runtime.tables.jsonl.values import encode_records

        chosen = np.zeros(len(self), dtype=np.bool_)
        chosen[list(issues)] = True
        columns = [filter_rows(column, chosen) for column in self.batch.columns]
        rows = pa.RecordBatch.from_arrays(columns, schema=self.batch.schema)
        texts = bytes(encode_records(rows)).split(b"\n")[:-1]
        return tuple(
            BadRow(
                record=self.first_record + index,
                line=None,
                column=issue.column,
                value=issue.value,
                reason=issue.reason,
                text=text,
            )
            for (index, issue), text in zip(issues.items(), texts, strict=True)
        )

    def select(self, columns: Sequence[int]) -> pa.RecordBatch:
        """Select columns, unchanged."""
        return self.batch.select([self.positions[index] for index in columns])


class Batches(Protocol):
    """A source of record batches."""

    @property
    def schema(self) -> pa.Schema:
        """Names and types of all columns."""

    @property
    def progress(self) -> int:
        """Bytes read so far, in the unit of the source's size."""

    def read(self, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
        """Read batches with at least these columns."""


class ArrowTable:
    """Typed columns, opened for reading; see ``runtime.tables.base.Table``."""

    def __init__(
        self,
        batches: Batches,
        *,
        kind: str = "arrow",
        where: str,
        decimal: Decimal = ".",
        first_record: int = 1,
    ) -> None:
        """Check the column names."""
        self._first_record = first_record
        self._batches, self._where = batches, where
        self.kind, self._decimal = kind, decimal
        self.arrow_schema: pa.Schema = batches.schema
        repeated = repeated_names(self.arrow_schema.names)
        if repeated:
            raise DataError(
                f"{where} has {len(repeated)} repeated column names, such as {repeated[0]!r}; "
                "rename or drop all but one"
            )
        if not self.arrow_schema.names:
            raise DataError(f"{where} has no columns")

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of its columns, in order."""
        return tuple(self.arrow_schema.names)

    @property
    def dialect(self) -> Dialect:
        """Dialect of its bad rows as delimited text."""
        return COMMA

    @property
    def bytes_read(self) -> int:
        """Bytes read so far."""
        return self._batches.progress

    @property
    def parquet_metadata(self) -> Any:  # noqa: ANN401 - pyarrow publishes no types
        """Metadata of the Parquet file; None for other sources."""
        return getattr(self._batches, "metadata", None)

    @property
    def decimals(self) -> tuple[Decimal, ...]:
        """Decimal signs of the numbers in its columns of text."""
        return (self._decimal,)

    @property
    def absent(self) -> tuple[str, ...]:
        """No column: the schema has all."""
        return ()

    def find_columns(self, names: Sequence[str] | None = None) -> None:
        """Do nothing: the schema has all columns."""

    def layout_hint(self, features: Sequence[str]) -> str:  # noqa: ARG002 - typed names need no hint
        """Suggest nothing: the names are not parsed from text."""
        return ""

    def check_numeric(self, features: Sequence[int]) -> None:
        """Refuse columns whose type cannot be converted to a number."""
        check_types([self.arrow_schema.field(index) for index in features], where=self._where)

    def blocks(self, columns: Sequence[int]) -> Iterator[ArrowBlock]:
        """Read the rows."""
        names = [self.arrow_schema.names[index] for index in columns]
        record = self._first_record
        try:
            for batch in self._batches.read(names):
                fields = map(batch.schema.get_field_index, names)
                positions = dict(zip(columns, fields, strict=True))
                for start in range(0, batch.num_rows, BATCH_ROWS):
                    rows = batch.slice(start, BATCH_ROWS)
                    block = ArrowBlock(rows, record, positions, self._decimal)
                    yield block
                    record += len(block)
        except (pa.ArrowException, OSError) as exc:
            raise DataError(
                f"{self._where} is damaged after record {record - 1}: {first_line(exc)}"
            ) from exc
