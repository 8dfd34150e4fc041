"""JSON Lines as one of the formats of ``runtime.tables.formats``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from runtime.errors import UsageError
from runtime.io.charsets import BOM, UTF_8
from runtime.tables.jsonl.reader import JsonLinesTable
from runtime.tables.jsonl.writer import JsonLinesWriter

if TYPE_CHECKING:
    from runtime.io.charsets import Encoding
    from runtime.io.sinks import Sink
    from runtime.io.streams import CountedSource
    from runtime.tables.base import Table
    from runtime.tables.driver import ReadPlan, WritePlan


def open_text(source: CountedSource, plan: ReadPlan) -> JsonLinesTable:
    """Read the first records."""
    encoding, where = plan.encoding, plan.where
    if not (encoding == UTF_8 or encoding.is_wide):
        raise UsageError(
            f"{where} is JSON Lines, which is Unicode: --encoding {encoding.name} cannot be; "
            f"convert it first: iconv -f {encoding.name} -t utf-8"
        )
    table = JsonLinesTable(source, where=where, wanted=plan.required, decimal=plan.decimal)
    if encoding.is_wide:  # its mark means nothing where UTF-8 is written
        table.head = table.head.removeprefix(BOM)
    return table


def text_encoding(table: Table) -> Encoding:  # noqa: ARG001 - the same for every table
    """Choose the encoding of the output: JSON Lines is UTF-8, whatever it is made from."""
    return UTF_8


def open_writer(sink: Sink, plan: WritePlan) -> JsonLinesWriter:
    """Begin the output; records of JSON Lines are appended to as they were read."""
    if isinstance(plan.table, JsonLinesTable) and plan.carries_all:
        return plan.table.appender(sink, plan.added)
    return JsonLinesWriter(sink, plan.added, columns=plan.carried)
