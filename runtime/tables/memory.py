"""A table in memory, read as a file with typed columns is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from runtime.tables.arrow.table import ArrowTable
from runtime.value import Value

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import pyarrow as pa

    from runtime.choices import Decimal


class _TableBatches:
    """Record batches of an Arrow table."""

    def __init__(self, table: pa.Table) -> None:
        self._table = table
        self.schema: pa.Schema = table.schema
        self.progress = 0

    def read(self, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
        """Read columns."""
        yield from self._table.select(list(columns)).to_batches()


class MemoryTable(Value, frozen=True):
    """A table in memory.

    Attributes:
        table: a ``pyarrow.Table``.
        name: in messages.
    """

    table: Any
    name: str = "the table"

    def __str__(self) -> str:
        return self.name

    def open(self, decimal: Decimal = ".") -> ArrowTable:
        """Open it for reading."""
        return ArrowTable(_TableBatches(self.table), where=self.name, decimal=decimal)
