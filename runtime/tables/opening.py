"""Open a table of any format for reading, and one for writing."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from runtime.endpoints import open_source, source_name
from runtime.errors import SchemaError
from runtime.tables.csv_output import CsvAppend, CsvOutput
from runtime.tables.csv_reader import CsvReader
from runtime.tables.csv_table import CsvTable

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from runtime.answers import NewColumns
    from runtime.endpoints import Sink
    from runtime.tables.output import Output
    from runtime.tables.table import Table


def _kind(path: Path) -> str:
    return {".parquet": "parquet", ".arrow": "arrow"}.get(path.suffix, "csv")


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
    where = source_name(source)
    with open_source(source) as stream:
        if _kind(source) == "csv":
            yield CsvTable(CsvReader(stream, where=where))
            return
        import pyarrow as pa

        from runtime.tables.arrow_files import IpcBatches, ParquetBatches
        from runtime.tables.arrow_table import ArrowTable

        with pa.OSFile(str(source)) as file:
            batches = (ParquetBatches if _kind(source) == "parquet" else IpcBatches)(
                file, where=where
            )
            yield ArrowTable(batches, where=where)


def open_output(
    sink: Sink, out: Path, table: Table, carried: Sequence[int], columns: NewColumns
) -> Output[Any]:
    """Begin a scored table.

    Args:
        sink: what is written to.
        out: its path, which tells the format.
        table: that is scored.
        carried: positions of its columns that are carried along.
        columns: that are added.

    Returns:
        What the blocks are written to.
    """
    names = [table.columns[at] for at in carried]
    if _kind(out) != "csv":
        return _arrow_output(sink, _kind(out), table, carried, columns)
    if isinstance(table, CsvTable) and len(carried) == len(table.columns):
        return CsvAppend(sink, columns.names, table)
    return CsvOutput(sink, columns.names, columns=carried, carried=names)


def choose_columns(
    columns: Sequence[str], wanted: Sequence[str] | None, option: str
) -> tuple[int, ...]:
    """Find columns by their names.

    Args:
        columns: of the table.
        wanted: their names, in the order of the output; None for all.
        option: that names them, for messages.

    Returns:
        Their positions.

    Raises:
        SchemaError: when there is no such column, or more than one.
    """
    if wanted is None:
        return tuple(range(len(columns)))
    for name in wanted:
        if columns.count(name) != 1:
            found = "no column" if name not in columns else f"{columns.count(name)} columns"
            raise SchemaError(
                f"{option}: the table has {found} {name!r}; it has {', '.join(map(repr, columns))}"
            )
    return tuple(columns.index(name) for name in wanted)


def _arrow_output(
    sink: Sink, kind: str, table: Table, carried: Sequence[int], columns: NewColumns
) -> Output[Any]:
    import pyarrow as pa

    from runtime.tables.arrow_output import ArrowOutput, IpcWriter, ParquetWriter, output_schema
    from runtime.tables.arrow_table import ArrowTable

    typed = table if isinstance(table, ArrowTable) else None
    fields = [
        typed.schema.field(at) if typed else pa.field(table.columns[at], pa.string())
        for at in carried
    ]
    schema = output_schema(fields, columns.fields)
    if kind == "parquet":
        metadata = typed.parquet_metadata if typed else None
        return ArrowOutput(sink, ParquetWriter(sink, schema, metadata), schema, carried)
    return ArrowOutput(sink, IpcWriter(sink, schema), schema, carried)
