"""What a table of any format offers: blocks of records to read, and a writer for scored ones."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import numpy as np

from runtime.value import Value

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    import numpy.typing as npt
    import pyarrow as pa

    from runtime.schema.features import Float32Matrix
    from runtime.tables.dialect import Dialect

    Mask = npt.NDArray[np.bool_]
    Numbers = npt.NDArray[np.float64]
    # Numbers, numbers with a mask, or texts: pyarrow publishes no types.
    Column = Any


class BadRow(Value, frozen=True):
    """A record that cannot be scored.

    Attributes:
        record: its number, counted from 1; a header is none.
        line: number of the physical line on which it starts; None where there are no lines.
        column: of the first bad cell; empty when the record as a whole is at fault.
        value: of that cell.
        reason: why.
        text: the record as it was read.
        extra_fields: fields beyond the header's, as they were written.
    """

    record: int
    line: int | None
    column: str
    value: str
    reason: str
    text: bytes
    extra_fields: str = ""

    @property
    def sentence(self) -> str:
        """Column and reason in one, for a cell of a table."""
        sentence = f"{self.column}: {self.reason}" if self.column else self.reason
        return f"{sentence}, left over: {self.extra_fields}" if self.extra_fields else sentence


class RowIssue(Value, frozen=True):
    """Why a record cannot be scored; ``column`` and ``value`` as in ``BadRow``."""

    reason: str
    column: str = ""
    value: str = ""


class Parsed(Value, frozen=True):
    """The feature cells of a block.

    Attributes:
        features: ``(good records, n_inputs)`` float32, finite but for NaN in the schema's gaps.
        good: ``(records,)`` bool, or None when every record is good.
        bad: one entry for every other record, in order.
    """

    features: Float32Matrix
    good: npt.NDArray[np.bool_] | None
    bad: tuple[BadRow, ...]

    def without(self, block: Block, answered: npt.NDArray[np.bool_], fault: RowIssue) -> Parsed:
        """Count some good records among the bad ones."""
        good = np.ones(len(block), dtype=np.bool_) if self.good is None else self.good.copy()
        lost = np.flatnonzero(good)[~answered]
        good[lost] = False
        bad = [*self.bad, *block.report(dict.fromkeys(lost.tolist(), fault))]
        return Parsed(self.features[answered], good, tuple(sorted(bad, key=_by_record)))


class Encoded(Value, frozen=True):
    """Rows as a model reads them.

    Attributes:
        matrix: ``(rows, n_inputs)`` float32.
        usable: ``(rows, n_features)`` bool, false for a cell that has no place in it.
    """

    matrix: Float32Matrix
    usable: Mask


class CellEncoder(Protocol):
    """Turns the cells of features into the model's inputs; see ``runtime.encoding``."""

    @property
    def is_numeric(self) -> bool:
        """Whether all features are numbers without gaps: the matrix then holds the columns."""

    def is_text(self, at: int) -> bool:
        """Whether the cells of a feature, by its position, are texts: categories or dates."""

    def is_date(self, at: int) -> bool:
        """Whether a feature, by its position, is a date."""

    def allows_missing(self, at: int) -> bool:
        """Whether a feature, by its position, is a number or date that may be missing."""

    def with_missing(self, at: int, numbers: Numbers, cells: pa.Array) -> Column:
        """Pair numbers with the mask of the gaps among them, as ``encode`` takes them."""

    def encode(self, columns: Sequence[Column]) -> Encoded:
        """Encode one column a feature, each ``(rows,)``."""

    def explain(self, at: int, cell: bytes | None, dialect: Dialect) -> str:
        """Explain why a cell is not usable."""


class AddedColumns(Value, frozen=True):
    """What is added to a block.

    Attributes:
        kept: ``(records,)`` bool, which records stay; None when all do.
        columns: one array a new column, ``(records that stay,)``.
        bad: records that stay without an answer.
    """

    kept: npt.NDArray[np.bool_] | None
    columns: tuple[pa.Array, ...]
    bad: tuple[BadRow, ...] = ()


class Block(Protocol):
    """Consecutive records; what it does is safe in any thread."""

    @property
    def first_record(self) -> int:
        """Number of its first record, counted from 1."""

    def __len__(self) -> int:
        """Count its records."""

    def parse(self, features: Sequence[int], encoder: CellEncoder) -> Parsed:
        """Read the feature cells.

        Args:
            features: positions in the table's columns, in the schema's order.
            encoder: makes the model's inputs of them.

        Returns:
            The good records as a matrix, and the others with their reasons.
        """

    def report(self, faults: Mapping[int, RowIssue]) -> tuple[BadRow, ...]:
        """Describe records that cannot be scored.

        Args:
            faults: by position in the block, counted from 0, in order.

        Returns:
            One entry a fault.
        """

    def select(self, columns: Sequence[int]) -> pa.RecordBatch:
        """Give cells to be written in another format.

        Args:
            columns: positions in the table's columns.

        Returns:
            One column each, ``(records,)``: text where the format knows only text, typed where it
            has types; null for a missing cell.
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
    def bytes_read(self) -> int:
        """How far reading has come, in the unit of the source's size."""

    @property
    def dialect(self) -> Dialect:
        """How its cells are written as delimited text, bad rows for one."""

    def layout_hint(self, features: Sequence[str]) -> str:
        """Guess what a header is in which the features are not found; empty without a guess."""

    def check_numeric(self, features: Sequence[int]) -> None:
        """Refuse columns of numbers whose type cannot be one; raises ``SchemaError``."""

    def blocks(self, columns: Sequence[int]) -> Iterator[Block]:
        """Read the records.

        Args:
            columns: positions of the columns to read; others may be skipped.

        Returns:
            Blocks in order.

        Raises:
            DataError: where the table is damaged.
        """


def _by_record(row: BadRow) -> int:
    return row.record


Piece = TypeVar("Piece")


class TableWriter(Protocol[Piece]):
    """A table being written."""

    def encode(self, block: Block, added: AddedColumns) -> Piece:
        """Turn a block with its answers into what is written; safe in any thread."""

    def write(self, piece: Piece) -> None:
        """Write what ``encode`` made, in the order of the blocks."""

    def finish(self) -> None:
        """Write what belongs after the last block, and hand everything to the system."""
