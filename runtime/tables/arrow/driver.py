"""Driver of Parquet and Arrow IPC, see ``runtime.tables.driver``."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import pyarrow as pa

from runtime.tables.arrays import LABEL
from runtime.tables.arrow.files import IpcBatches, ParquetBatches
from runtime.tables.arrow.table import ArrowTable
from runtime.tables.arrow.writer import ROW_GROUP_ROWS, ArrowWriter, output_schema

if TYPE_CHECKING:
    from collections.abc import Iterable

    from runtime.io.paths import Location
    from runtime.io.sinks import Sink
    from runtime.tables.base import Table
    from runtime.tables.driver import ReadPlan, WritePlan
    from runtime.tables.spans import Span


def open_file(file: pa.NativeFile, plan: ReadPlan) -> ArrowTable:
    """Read the schema of a seekable file."""
    batches = ParquetBatches if plan.kind == "parquet" else IpcBatches
    source = batches(file, plan)
    first = plan.span.span.first_record if plan.span else 1
    return ArrowTable(
        source, kind=plan.kind, where=plan.where, decimal=plan.decimal, first_record=first
    )


def divide(table: Table, size: int) -> tuple[Span, ...]:
    """Divide a Parquet file near its row groups; others cannot be divided."""
    from runtime.tables.division import divide_rows  # a table is rarely divided

    metadata = cast("ArrowTable", table).parquet_metadata
    return () if metadata is None else divide_rows(metadata, size, ROW_GROUP_ROWS)


def join(parts: Iterable[tuple[Location, int]], sink: Sink) -> None:
    """Join Parquet files."""
    from runtime.tables.arrow.joining import join_parquet

    join_parquet(parts, sink)


def open_writer(sink: Sink, plan: WritePlan) -> ArrowWriter:
    """Open a writer; carried columns keep their types and, in Parquet, their encodings."""
    typed = plan.table if isinstance(plan.table, ArrowTable) else None
    fields = [
        typed.arrow_schema.field(index)
        if typed
        else pa.field(plan.table.columns[index], pa.string())
        for index in plan.carried
    ]
    schema = output_schema(fields, plan.added, typed.arrow_schema.metadata if typed else None)
    if plan.kind == "arrow":
        from runtime.tables.arrow.file_writers import IpcWriter

        return ArrowWriter(sink, IpcWriter(sink, schema), plan.carried)
    from runtime.tables.arrow.file_writers import ParquetWriter

    labels = [field.name for field in plan.added if field.type == LABEL]
    metadata = typed.parquet_metadata if typed else None
    return ArrowWriter(sink, ParquetWriter(sink, schema, labels, metadata), plan.carried)
