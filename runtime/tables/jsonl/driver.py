"""The functions that register JSON Lines in ``runtime.tables.formats``."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from runtime.errors import UsageError
from runtime.io.charsets import BOM, UTF_8
from runtime.tables.jsonl.lines import JsonLinesRecords
from runtime.tables.jsonl.reader import JsonLinesTable
from runtime.tables.jsonl.writer import JsonLinesWriter

if TYPE_CHECKING:
    from runtime.io.charsets import Encoding
    from runtime.io.sinks import Sink
    from runtime.io.streams import CountedSource
    from runtime.tables.base import Table
    from runtime.tables.division import TextLayout
    from runtime.tables.driver import ReadPlan, WritePlan


def open_text(source: CountedSource, plan: ReadPlan) -> JsonLinesTable:
    """Open a table and read its first records."""
    encoding, where = plan.encoding, plan.where
    if not (encoding == UTF_8 or encoding.is_wide):
        raise UsageError(
            f"{where} is JSON Lines, which must be Unicode, not {encoding.name}; "
            f"convert it first: iconv -f {encoding.name} -t utf-8"
        )
    table = JsonLinesTable(
        source,
        where=where,
        required=plan.required,
        decimal=plan.decimal,
        reopen=plan.reopen,
    )
    table.span = plan.span
    if encoding.is_wide:  # the output is UTF-8, without a mark
        table.head = table.head.removeprefix(BOM)
    return table


def text_layout(table: Table) -> TextLayout:
    """Begin after a byte order mark; a line is a record."""
    from runtime.tables.division import TextLayout  # a table is rarely divided

    at = len(cast("JsonLinesTable", table).head)
    return TextLayout(at, 1, at, JsonLinesRecords())


def text_encoding(table: Table) -> Encoding:  # noqa: ARG001 - the same for every table
    """Return the encoding of the output, always UTF-8."""
    return UTF_8


def open_writer(sink: Sink, plan: WritePlan) -> JsonLinesWriter:
    """Begin the output; records of JSON Lines keep their bytes and gain members."""
    if isinstance(plan.table, JsonLinesTable) and not plan.is_selection:
        plan.table.head *= plan.begins
        return plan.table.appender(sink, plan.added)
    return JsonLinesWriter(sink, plan.added, columns=plan.carried)
