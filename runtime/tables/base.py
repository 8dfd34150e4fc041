"""Interfaces of table formats: tables, blocks of records, encoders and writers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import numpy as np

from runtime.value import Value

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    import numpy.typing as npt
    import pyarrow as pa

    from runtime.choices import Decimal
    from runtime.schema.features import Float32Matrix
    from runtime.tables.dialect import Dialect

    Mask = npt.NDArray[np.bool_]
    Numbers = npt.NDArray[np.float64]
    # Numbers, numbers with a mask, or texts: pyarrow publishes no types.
    Column = Any


class BadRow(Value, frozen=True):
    """A record that cannot be scored.

    Attributes:
        record: its number, counted from 1 after the header.
        line: number of the physical line on which it starts; None for formats without lines.
        column: of the first bad cell; empty when the whole record is bad.
        value: of that cell.
        reason: why it cannot be scored.
        text: the record as it was read.
        extra_fields: fields in excess of the header, as they were read.
        source: name of the file, where a table has several.
    """

    record: int
    line: int | None
    column: str
    value: str
    reason: str
    text: bytes
    extra_fields: str = ""
    source: str = ""

    @property
    def message(self) -> str:
        """Column, reason and extra fields as text for the reason column."""
        message = f"{self.column}: {self.reason}" if self.column else self.reason
        return f"{message}, extra fields: {self.extra_fields}" if self.extra_fields else message


class RowIssue(Value, frozen=True):
    """Reason, column and value of a ``BadRow``, before its record is located."""

    reason: str
    column: str = ""
    value: str = ""


class Parsed(Value, frozen=True):
    """The parsed features of a block.

    Attributes:
        features: ``(good records, n_inputs)`` float32, finite but for NaN in imputed inputs.
        good: ``(records,)`` bool; None when every record is good.
        bad: one entry per other record, in order.
    """

    features: Float32Matrix
    good: npt.NDArray[np.bool_] | None
    bad: tuple[BadRow, ...]

    def keep(self, block: Block, kept: npt.NDArray[np.bool_], issue: RowIssue) -> Parsed:
        """Keep the good records that ``kept`` marks; the others become bad, with an issue."""
        good = np.ones(len(block), dtype=np.bool_) if self.good is None else self.good.copy()
        dropped = np.flatnonzero(good)[~kept]
        good[dropped] = False
        bad = [*self.bad, *block.report(dict.fromkeys(dropped.tolist(), issue))]
        bad.sort(key=lambda row: row.record)
        return Parsed(self.features[kept], good, tuple(bad))


class Encoded(Value, frozen=True):
    """Encoded rows.

    Attributes:
        matrix: ``(rows, n_inputs)`` float32.
        usable: ``(rows, n_features)`` bool, false for a cell that cannot be encoded.
    """

    matrix: Float32Matrix
    usable: Mask


class CellEncoder(Protocol):
    """Encodes the cells of features as the model's inputs; see ``runtime.encoding.Encoder``."""

    @property
    def is_numeric(self) -> bool:
        """Whether all features are numbers that cannot be missing: inputs equal columns."""

    @property
    def null_texts(self) -> tuple[str, ...]:
        """Texts that mean a missing cell in every feature, beside the empty one."""

    def select(self, features: Sequence[int]) -> CellEncoder:
        """Select features, by their indices: the encoder of these alone."""

    def width(self, feature: int) -> int:
        """Number of inputs of a feature, by its index."""

    def is_text(self, feature: int) -> bool:
        """Whether a feature, by its index, is read as text: categories and dates."""

    def is_date(self, feature: int) -> bool:
        """Whether a feature, by its index, is a date."""

    def allows_missing(self, feature: int) -> bool:
        """Whether a feature, by its index, is a number or date that may be missing."""

    def with_missing(self, feature: int, numbers: Numbers, cells: pa.Array) -> Column:
        """Add the mask of missing cells to numbers where the feature allows them."""

    def encode(self, columns: Sequence[Column]) -> Encoded:
        """Encode rows from one column per feature, each ``(rows,)``."""

    def means_missing(self, feature: int, number: float) -> bool:
        """Whether a number of a feature, by its index, means a missing cell."""

    def explain(self, feature: int, cell: bytes | None, dialect: Dialect) -> str:
        """Explain why a cell is not usable."""


class AddedColumns(Value, frozen=True):
    """New columns of a block.

    Attributes:
        kept: ``(records,)`` bool, the records to write; None for all.
        columns: one array per new column, ``(kept records,)``.
        bad: kept records without a prediction.
    """

    kept: npt.NDArray[np.bool_] | None
    columns: tuple[pa.Array, ...]
    bad: tuple[BadRow, ...] = ()


class Block(Protocol):
    """Consecutive records of a table; thread-safe."""

    @property
    def first_record(self) -> int:
        """Number of its first record, counted from 1."""

    def __len__(self) -> int:
        """Number of records."""

    def parse(self, features: Sequence[int], encoder: CellEncoder) -> Parsed:
        """Parse the feature cells.

        Args:
            features: indices of their columns, in the order of the schema.
            encoder: of the features.

        Returns:
            The good records as a matrix, the others with reasons.
        """

    def report(self, issues: Mapping[int, RowIssue]) -> tuple[BadRow, ...]:
        """Describe records that cannot be scored.

        Args:
            issues: by index in the block, ascending.

        Returns:
            One entry per issue.
        """

    def select(self, columns: Sequence[int]) -> pa.RecordBatch:
        """Read cells to write them in another format.

        Args:
            columns: indices in the table's columns.

        Returns:
            One column each, ``(records,)``: text, or typed if the format has types; null for an
            absent cell.
        """


class Table(Protocol):
    """A table opened for reading."""

    @property
    def kind(self) -> str:
        """Name of its format."""

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of its columns, in order."""

    @property
    def absent(self) -> tuple[str, ...]:
        """Required columns that no record read so far has; their cells are missing.

        Their positions follow those of ``columns``. A format with a header has none: there a
        column that is not in the header is an error.
        """

    @property
    def arrow_schema(self) -> pa.Schema | None:
        """Names and types of its columns; None for a format without types."""

    @property
    def bytes_read(self) -> int:
        """Bytes read so far, in the unit of the source's size."""

    @property
    def dialect(self) -> Dialect:
        """Dialect of its bad rows as delimited text."""

    @property
    def decimals(self) -> tuple[Decimal, ...]:
        """Decimal signs of the numbers in its text."""

    def find_columns(self, names: Sequence[str] | None = None) -> None:
        """Find the columns that only later records have, in a file that can be read twice.

        Args:
            names: read ahead only if one of these is not found; None for all columns: a later
                record with another one, whose value would be lost, is then an error.

        Raises:
            DataError: when the table is damaged or cannot be read.
        """

    def layout_hint(self, features: Sequence[str]) -> str:
        """Suggest why features are missing from the header; empty without a suggestion."""

    def check_numeric(self, features: Sequence[int]) -> None:
        """Refuse columns of numbers that have an unsuitable type.

        Args:
            features: indices of the columns.

        Raises:
            SchemaError: when a column's type cannot be converted to a number.
        """

    def blocks(self, columns: Sequence[int]) -> Iterator[Block]:
        """Read the records.

        Args:
            columns: indices of the columns to read; others may be skipped.

        Returns:
            Consecutive blocks.

        Raises:
            DataError: when the table is damaged or cannot be read.
        """


Chunk = TypeVar("Chunk")


class TableWriter(Protocol[Chunk]):
    """Writes a scored table."""

    def encode(self, block: Block, added: AddedColumns) -> Chunk:
        """Encode a block with its new columns; thread-safe.

        Args:
            block: of the table that is scored.
            added: its new columns.

        Returns:
            The encoded block.
        """

    def write(self, chunk: Chunk) -> None:
        """Write an encoded block; blocks come in order.

        Args:
            chunk: result of ``encode``.

        Raises:
            DataError: when the output cannot be written, or has no such values.
        """

    def finish(self) -> None:
        """Write the end of the table and flush.

        Raises:
            DataError: when the output cannot be written.
        """
