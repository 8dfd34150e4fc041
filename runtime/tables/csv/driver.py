"""Driver of delimited text, see ``runtime.tables.driver``."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from msgspec.structs import replace

from runtime.io.charsets import BOM
from runtime.tables.csv.quoting import encode_record
from runtime.tables.csv.reader import CsvReader
from runtime.tables.csv.records import CsvRecords, count_lines
from runtime.tables.csv.table import CsvTable
from runtime.tables.csv.writer import CsvAppender, CsvWriter
from runtime.tables.dialect import COMMA, Dialect

if TYPE_CHECKING:
    from runtime.io.charsets import Encoding
    from runtime.io.sinks import Sink
    from runtime.io.streams import CountedSource
    from runtime.tables.base import Table
    from runtime.tables.division import TextLayout
    from runtime.tables.driver import ReadPlan, WritePlan

_TAB = b"\t"


def open_text(source: CountedSource, plan: ReadPlan) -> CsvTable:
    """Read the header, its delimiter detected by the required names if it is not given."""
    dialect = replace(COMMA, encoding=plan.encoding, decimal=plan.decimal)
    delimiter = plan.delimiter or (_TAB if plan.kind == "tsv" else None)
    if delimiter:
        dialect = replace(dialect, delimiter=delimiter)
    detect_by = None if delimiter else plan.required
    reader = CsvReader(source, where=plan.where, dialect=dialect, detect_by=detect_by)
    reader.span = plan.span
    return CsvTable(reader, plan.kind)


def text_layout(table: Table) -> TextLayout:
    """Begin after the header; a line end may be quoted."""
    from runtime.tables.division import TextLayout  # a table is rarely divided

    header = cast("CsvTable", table).header
    ends = CsvRecords(header.dialect.delimiter[0], keeps_blank=len(header.columns) == 1)
    at = len(header.text)
    return TextLayout(at, count_lines(header.text) + 1, at + len(header.terminator), ends)


def text_encoding(table: Table) -> Encoding:
    """Choose the encoding of the table."""
    return table.dialect.encoding


def open_writer(sink: Sink, plan: WritePlan) -> CsvWriter:
    """Open a writer; it appends to the records if they have the same dialect."""
    table, names = plan.table, [field.name for field in plan.added]
    dialect = _choose_dialect(plan)
    if isinstance(table, CsvTable) and dialect == table.dialect and plan.carries_all:
        return CsvAppender(sink, names, table, begins=plan.begins, ends=plan.ends)
    if plan.begins:
        if dialect.encoding.is_wide:
            sink.write(BOM)  # marks the byte order
        if isinstance(table, CsvTable) and table.header.preamble.delimiter == dialect.delimiter:
            sink.write(table.header.preamble.text.removeprefix(BOM))
        carried = [table.columns[index] for index in plan.carried]
        sink.write(encode_record([*carried, *names], dialect).removesuffix(b"\n"))
    return CsvWriter(sink, columns=plan.carried, dialect=dialect, ends=plan.ends)


def _choose_dialect(plan: WritePlan) -> Dialect:
    """Choose the dialect of the table, with the delimiter of the output's format."""
    source = plan.table.dialect
    if plan.kind == "tsv":
        return replace(source, delimiter=_TAB)
    if plan.table.kind == "csv":
        return source
    return replace(source, delimiter=plan.delimiter or b",")
