"""Begin a scored table of any format."""

from __future__ import annotations

from collections import Counter
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from runtime.errors import SchemaError, UsageError
from runtime.files.atomic import STANDARD_STREAM, writing
from runtime.scoring.answers import LABEL
from runtime.scoring.endpoints import Sink
from runtime.tables.csv.table import CsvTable
from runtime.tables.csv.writer import CsvAppend, CsvOutput
from runtime.tables.dialect import COMMA, Dialect
from runtime.tables.formats import Format, format_of_name
from runtime.tables.stored.encodings import BOM, UTF_8
from runtime.tables.stored.stored import storing

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from runtime.scoring.answers import NewColumns
    from runtime.scoring.options import Options
    from runtime.tables.arrow.writer import ArrowOutput
    from runtime.tables.base import Table, TableWriter


def choose_format(out: Path, table: Table, options: Options) -> Format:
    """Choose the format of the output.

    Args:
        out: where it goes.
        table: that is scored.
        options: of the scoring.

    Returns:
        The format asked for, else that of the name; without a name, text as the table is text,
        and CSV for a table of another kind.

    Raises:
        UsageError: when no format is asked for and the name's ending is none.
    """
    if options.out_format:
        return options.out_format
    named = None if out == STANDARD_STREAM else format_of_name(out, option="--out-format")
    if named:
        return named
    return Format(table.kind if table.kind in {"csv", "tsv", "jsonl"} else "csv")


def refuse_idle(table: Table, stored: Format, options: Options) -> None:
    """Refuse options of text where there is none, rather than pass over them.

    Args:
        table: that is scored.
        stored: format of the output.
        options: of the scoring.

    Raises:
        UsageError: when one of them can change nothing.
    """
    reading, delimited = options.reading, {"csv", "tsv"}
    if reading.encoding and table.kind in {"parquet", "arrow"}:
        raise UsageError(f"--encoding is for text, and the table is {table.kind}: leave it out")
    if reading.delimiter and not delimited & {table.kind, stored.kind}:
        raise UsageError(
            f"--delimiter is for delimited text, and the table is {table.kind}: leave it out"
        )


def choose_listing(table: Table) -> Dialect:
    """Choose how a table's bad rows are listed: with commas, in the encoding of their text."""
    if isinstance(table, CsvTable):
        return replace(COMMA, encoding=table.header.dialect.encoding)
    return COMMA


@contextmanager
def open_output(
    sink: Sink,
    stored: Format,
    table: Table,
    carried: Sequence[int],
    columns: NewColumns,
    delimiter: bytes | None,
) -> Iterator[TableWriter[Any]]:
    """Begin a scored table.

    Args:
        sink: what is written to.
        stored: its format.
        table: that is scored.
        carried: positions of its columns that are carried along.
        columns: that are added.
        delimiter: between the fields of text, where it was given.

    Yields:
        What the blocks are written to.

    Raises:
        SchemaError: when two carried columns have one name, and the format tells columns by name.
    """
    if stored.kind not in {"csv", "tsv"}:
        _refuse_doubled([table.columns[at] for at in carried], sink.name, stored)
    if stored.kind in {"parquet", "arrow"}:
        output = _arrow_output(sink, stored.kind, table, carried, columns)
        try:
            yield output
        except BaseException:
            output.discard()
            raise
        return
    source = table.header.dialect if isinstance(table, CsvTable) else COMMA
    # JSON Lines is UTF-8, whatever it is made from.
    encoding = UTF_8 if stored.kind == "jsonl" else source.encoding
    with writing(sink.name), storing(sink.stream, stored, encoding) as stream:
        sink = Sink(sink.name, stream)
        if stored.kind == "jsonl":
            yield _json_output(sink, table, carried, columns)
        else:
            dialect = _choose_dialect(stored, table, source, delimiter)
            yield _csv_output(sink, table, carried, columns, dialect)


def _refuse_doubled(names: Sequence[str], where: str, stored: Format) -> None:
    """Refuse names of which a reader would see one alone, or none."""
    ((name, count),) = Counter(names).most_common(1) or (("", 0),)
    if count > 1:
        raise SchemaError(
            f"cannot write {where}: the table has {count} columns {name!r}, and {stored.kind} "
            "tells columns by their names: rename them, name others with --columns, or write CSV"
        )


def _csv_output(
    sink: Sink, table: Table, carried: Sequence[int], columns: NewColumns, dialect: Dialect
) -> CsvOutput:
    whole = len(carried) == len(table.columns)
    if isinstance(table, CsvTable) and dialect == table.header.dialect and whole:
        return CsvAppend(sink, columns.names, table)
    names = [table.columns[at] for at in carried]
    if dialect.encoding.is_wide:
        sink.write(BOM)  # without it nobody knows the order of the bytes
    return CsvOutput(sink, columns.names, columns=carried, carried=names, dialect=dialect)


def _json_output(
    sink: Sink, table: Table, carried: Sequence[int], columns: NewColumns
) -> TableWriter[Any]:
    from runtime.tables.json_lines.json_lines import JsonLinesTable
    from runtime.tables.json_lines.json_output import JsonAppend, JsonOutput

    if isinstance(table, JsonLinesTable) and len(carried) == len(table.columns):
        return JsonAppend(sink, columns.fields, table)
    return JsonOutput(sink, columns.fields, columns=carried)


def _choose_dialect(
    stored: Format, table: Table, source: Dialect, delimiter: bytes | None
) -> Dialect:
    """Write text as the table's, but for the delimiter that the format asks for."""
    if stored.kind == "tsv":
        return replace(source, delimiter=b"\t")
    if table.kind == "csv":
        return source
    return replace(source, delimiter=delimiter or b",")


def _arrow_output(
    sink: Sink, kind: str, table: Table, carried: Sequence[int], columns: NewColumns
) -> ArrowOutput:
    import pyarrow as pa

    from runtime.tables.arrow.table import ArrowTable
    from runtime.tables.arrow.writer import ArrowOutput, output_schema

    typed = table if isinstance(table, ArrowTable) else None
    fields = [
        typed.schema.field(at) if typed else pa.field(table.columns[at], pa.string())
        for at in carried
    ]
    schema = output_schema(fields, columns.fields, typed.schema.metadata if typed else None)
    if kind == "arrow":
        from runtime.tables.arrow.file_writers import IpcWriter

        return ArrowOutput(sink, IpcWriter(sink, schema), carried)
    from runtime.tables.arrow.file_writers import ParquetWriter

    labels = [field.name for field in columns.fields if field.type == LABEL]
    metadata = typed.parquet_metadata if typed else None
    return ArrowOutput(sink, ParquetWriter(sink, schema, labels, metadata), carried)
