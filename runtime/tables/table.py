"""What a table of any format is to scoring: a stream of blocks of records.

A reader (``Table``) gives ``Block`` s in order. A block reads its own feature cells, which is the
expensive part and runs in threads, and gives the cells of its other columns where they are needed
in another format than they were read in.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import numpy as np

from runtime.encoding import PLAIN
from runtime.value import Value

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    import numpy.typing as npt
    import pyarrow as pa

    from runtime.encoding import Encoder
    from runtime.schema import Float32Matrix
    from runtime.tables.stored.formats import Kind


class BadRow(Value, frozen=True):
    """A record that cannot be scored.

    Attributes:
        record: its number, counted from 1; a header is none.
        line: number of the physical line on which it starts; None where there are no lines.
        column: of the first bad cell; empty when the record as a whole is at fault.
        value: of that cell.
        reason: why.
        text: the record as it was read.
        left_over: fields beyond the header's, as they were written.
    """

    record: int
    line: int | None
    column: str
    value: str
    reason: str
    text: bytes
    left_over: str = ""

    @property
    def sentence(self) -> str:
        """Column and reason in one, for a cell of a table."""
        told = f"{self.column}: {self.reason}" if self.column else self.reason
        return f"{told}, left over: {self.left_over}" if self.left_over else told


class Fault(Value, frozen=True):
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

    def without(self, block: Block, answered: npt.NDArray[np.bool_], fault: Fault) -> Parsed:
        """Count some good records among the bad ones.

        Args:
            block: that this was read of.
            answered: ``(good records,)`` bool, those that stay good.
            fault: of the others.

        Returns:
            The records that are both good and answered, and all others with their reasons.
        """
        good = np.ones(len(block), dtype=np.bool_) if self.good is None else self.good.copy()
        lost = np.flatnonzero(good)[~answered]
        good[lost] = False
        bad = [*self.bad, *block.report(dict.fromkeys(lost.tolist(), fault))]
        return Parsed(self.features[answered], good, tuple(sorted(bad, key=_by_record)))


class Block(Protocol):
    """Consecutive records; what it does is safe in any thread."""

    @property
    def first_record(self) -> int:
        """Number of its first record, counted from 1."""

    def __len__(self) -> int:
        """Count its records."""

    def parse(self, features: Sequence[int], encoder: Encoder = PLAIN) -> Parsed:
        """Read the feature cells.

        Args:
            features: positions in the table's columns, in the schema's order.
            encoder: makes the model's inputs of them.

        Returns:
            The good records as a matrix, and the others with their reasons.
        """

    def report(self, faults: Mapping[int, Fault]) -> tuple[BadRow, ...]:
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
            has types; null for a cell that is not there.
        """


class Table(Protocol):
    """A table opened for reading."""

    @property
    def kind(self) -> Kind:
        """Its format."""

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of its columns, in order."""

    @property
    def bytes_read(self) -> int:
        """How far reading has come, in the unit of the source's size."""

    def expect_numbers(self, features: Sequence[int]) -> None:
        """Refuse columns of numbers whose type cannot be one; raises ``SchemaError``."""

    def blocks(self, columns: Sequence[int]) -> Iterator[Block]:
        """Read the records.

        Args:
            columns: positions of those that will be asked for; others need not be read.

        Returns:
            Blocks in order.

        Raises:
            DataError: where the table is damaged.
        """


def _by_record(row: BadRow) -> int:
    return row.record
