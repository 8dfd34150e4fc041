"""Open writers of scored tables in any format."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from runtime.errors import SchemaError, UsageError
from runtime.io.paths import STANDARD_STREAM
from runtime.io.sinks import Sink, encoded_sink
from runtime.io.streams import translate_write_errors
from runtime.schema.names import repeated_names
from runtime.surfaces import advise, either, option
from runtime.tables.dialect import COMMA, Dialect
from runtime.tables.formats import Format, file_driver, format_from_name, text_driver

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from runtime.io.paths import Location
    from runtime.tables.base import Table, TableWriter
    from runtime.tables.driver import WritePlan
    from runtime.tables.options import ReadOptions


def choose_format(out: Location, table: Table, requested: Format | None) -> Format:
    """Choose the output's format: as requested, by its name, or as the table, CSV if binary."""
    if requested:
        return requested
    named = None if out == STANDARD_STREAM else format_from_name(out, option="out_format")
    if named:
        return named
    source = Format(table.kind)
    return source if source.is_text else Format("csv")


def refuse_unused(table: Table, stored: Format, options: ReadOptions) -> None:
    """Refuse options that apply neither to the table nor to the output."""
    source = Format(table.kind)
    if options.encoding and not source.is_text:
        raise UsageError(
            f"{option('encoding')} is for text, and the table is {table.kind}: leave it out"
        )
    if options.delimiter and not (source.is_delimited or stored.is_delimited):
        raise UsageError(
            f"{option('delimiter')} is for delimited text, and the table is {table.kind}: "
            "leave it out"
        )


def rejects_dialect(table: Table) -> Dialect:
    """Choose the dialect of the rejects file: commas, in the encoding of the table."""
    return replace(COMMA, encoding=table.dialect.encoding)


@contextmanager
def open_output(sink: Sink, stored: Format, plan: WritePlan) -> Iterator[TableWriter[Any]]:
    """Open the writer of a scored table."""
    if not stored.is_delimited:
        _refuse_repeated([plan.table.columns[index] for index in plan.carried], sink.name, stored)
    if not stored.is_text:
        writer = file_driver(stored.kind).open_writer(sink, plan)
        try:
            yield writer
        except BaseException:
            writer.discard()
            raise
        return
    driver = text_driver(stored.kind)
    encoding = driver.text_encoding(plan.table)
    with (
        translate_write_errors(sink.name),
        encoded_sink(sink.stream, stored.compression, encoding) as stream,
    ):
        yield driver.open_writer(Sink(sink.name, stream), plan)


def _refuse_repeated(names: Sequence[str], where: str, stored: Format) -> None:
    """Refuse repeated column names in formats that cannot represent them."""
    for name in repeated_names(names):
        others = advise("columns", blank="NAMES", phrase="select others with {}")
        raise SchemaError(
            f"cannot write {where}: the table has {names.count(name)} columns {name!r}, which "
            f"{stored.kind} cannot represent: " + either("rename them", others, "write CSV")
        )
