"""Parquet and Arrow IPC as tables of typed columns."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import pyarrow as pa
from msgspec.structs import replace

from runtime.errors import DataError
from runtime.tables.arrow.errors import first_line
from runtime.tables.arrow.features import check_types, find_issues, read_columns
from runtime.tables.base import BadRow, Parsed, RowIssue
from runtime.tables.dialect import COMMA, Dialect
from runtime.value import Value

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from runtime.choices import Decimal
    from runtime.tables.base import CellEncoder


BATCH = 65_536  # rows: enough to fill the engine, and every batch of the proof fits


class ArrowBlock(Value, frozen=True):
    """Consecutive rows of typed columns; see ``runtime.tables.base.Block``.

    Attributes:
        batch: the columns that were read.
        first_record: number of its first row, counted from 1.
        places: where in ``batch`` a column of the table is, by its position in the table.
        decimal: the sign before a fraction in columns of text.
    """

    batch: pa.RecordBatch
    first_record: int
    places: Mapping[int, int]
    decimal: Decimal = "."

    def __len__(self) -> int:
        rows: int = self.batch.num_rows
        return rows

    def parse(self, features: Sequence[int], encoder: CellEncoder) -> Parsed:
        """Read the feature columns."""
        columns = [self.batch.column(self.places[at]) for at in features]
        encoded = encoder.encode(read_columns(columns, encoder, self.decimal))
        if encoded.usable.all():
            return Parsed(encoded.matrix, None, ())
        names = [self.batch.schema.names[self.places[at]] for at in features]
        good = np.asarray(encoded.usable.all(axis=1))
        dialect = replace(COMMA, decimal=self.decimal)
        faults = find_issues(dict(zip(names, columns, strict=True)), encoded, encoder, dialect)
        return Parsed(encoded.matrix[good], good, self.report(faults))

    def report(self, faults: Mapping[int, RowIssue]) -> tuple[BadRow, ...]:
        """Describe rows that cannot be scored; their text is JSON."""
        from runtime.tables.json_lines.json_encode import encode_records

        return tuple(
            BadRow(
                record=self.first_record + index,
                line=None,
                column=fault.column,
                value=fault.value,
                reason=fault.reason,
                text=bytes(encode_records(self.batch.slice(index, 1))).rstrip(b"\n"),
            )
            for index, fault in faults.items()
        )

    def select(self, columns: Sequence[int]) -> pa.RecordBatch:
        """Give columns as they are."""
        return self.batch.select([self.places[at] for at in columns])


class Batches(Protocol):
    """A source of record batches."""

    @property
    def schema(self) -> pa.Schema:
        """Names and types of all columns."""

    @property
    def progress(self) -> int:
        """How far reading has come, in the unit of the source's size."""

    def read(self, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
        """Read batches of these columns, or of more."""


class ArrowTable:
    """Typed columns, opened for reading; see ``runtime.tables.base.Table``."""

    def __init__(
        self, batches: Batches, *, kind: str = "arrow", where: str, decimal: Decimal = "."
    ) -> None:
        """Look at the columns."""
        self._batches, self._where = batches, where
        self.kind, self._decimal = kind, decimal
        self.schema: pa.Schema = batches.schema
        doubled = [name for name, count in Counter(self.schema.names).items() if count > 1]
        if doubled:
            raise DataError(
                f"{where} has {len(doubled)} column names more than once, {doubled[0]!r} for one; "
                "rename or drop all but one"
            )
        if not self.schema.names:
            raise DataError(f"{where} has no columns")

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of its columns, in order."""
        return tuple(self.schema.names)

    @property
    def dialect(self) -> Dialect:
        """How its cells are written as delimited text."""
        return COMMA

    @property
    def bytes_read(self) -> int:
        """How far reading has come."""
        return self._batches.progress

    @property
    def parquet_metadata(self) -> Any:  # noqa: ANN401 - pyarrow publishes no types
        """Codecs and encodings of the Parquet file it comes from, None for another source."""
        return getattr(self._batches, "metadata", None)

    def layout_hint(self, features: Sequence[str]) -> str:  # noqa: ARG002 - names are certain here
        """Guess nothing: the names are not split off a line."""
        return ""

    def check_numeric(self, features: Sequence[int]) -> None:
        """Refuse feature columns of other types; ``SchemaError`` names the first."""
        check_types([self.schema.field(at) for at in features], where=self._where)

    def blocks(self, columns: Sequence[int]) -> Iterator[ArrowBlock]:
        """Read the rows."""
        names = [self.schema.names[at] for at in columns]
        record = 1
        try:
            for whole in self._batches.read(names):
                places = {at: whole.schema.get_field_index(self.schema.names[at]) for at in columns}
                for start in range(0, whole.num_rows, BATCH):
                    block = ArrowBlock(whole.slice(start, BATCH), record, places, self._decimal)
                    yield block
                    record += len(block)
        except (pa.ArrowException, OSError) as exc:
            raise DataError(
                f"{self._where} is damaged after record {record - 1}: {first_line(exc)}"
            ) from exc
