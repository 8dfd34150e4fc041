"""Open a table of any format for reading, and one for writing."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from runtime.endpoints import open_sink, open_source, source_name
from runtime.tables.csv_output import CsvAppend
from runtime.tables.csv_reader import CsvReader
from runtime.tables.csv_table import CsvTable

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from runtime.answers import NewColumns
    from runtime.tables.output import Output
    from runtime.tables.table import Table


@contextmanager
def open_table(source: Path) -> Iterator[Table]:
    """Open a table for reading.

    Args:
        source: a file, or ``-``.

    Yields:
        The table.

    Raises:
        DataError: when it cannot be opened or is no table.
    """
    with open_source(source) as stream:
        yield CsvTable(CsvReader(stream, where=source_name(source)))


@contextmanager
def open_output(
    out: Path, table: Table, carried: Sequence[int], columns: NewColumns
) -> Iterator[Output[Any]]:
    """Begin a scored table.

    Args:
        out: a file, or ``-``.
        table: that is scored.
        carried: positions of its columns that are carried along.
        columns: that are added.

    Yields:
        What the blocks are written to.
    """
    with open_sink(out) as sink:
        yield CsvAppend(sink, columns.names, table)
