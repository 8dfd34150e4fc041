"""Write a scored table as Parquet or Arrow IPC."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import pyarrow as pa

from runtime.errors import DataError
from runtime.io.parallel import BackgroundWriter
from runtime.io.streams import translate_write_errors
from runtime.tables.arrays import filter_rows, text_array
from runtime.tables.arrow.errors import translate_errors
from runtime.tables.text import unpack_text

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from runtime.io.sinks import Sink
    from runtime.tables.base import AddedColumns, Block


ROW_GROUP = 524_288  # rows: as many as readers like, at a few megabytes a column


class BatchWriter(Protocol):
    """Writes tables of one schema.

    Attributes:
        schema: of the tables that it takes.
    """

    schema: pa.Schema

    def write(self, table: pa.Table) -> None:
        """Write rows."""

    def close(self) -> None:
        """Write what belongs at the end."""

    def discard(self) -> None:
        """Write nothing more."""


class ArrowWriter:
    """Typed columns being written; see ``runtime.tables.base.TableWriter``."""

    def __init__(self, sink: Sink, writer: BatchWriter, columns: Sequence[int]) -> None:
        """Take a writer."""
        self._sink, self._writer, self._columns = sink, writer, columns
        self._waiting: list[pa.RecordBatch] = []
        self._rows = 0
        self._background = BackgroundWriter("write")

    def encode(self, block: Block, added: AddedColumns) -> pa.RecordBatch:
        """Put carried and new columns side by side."""
        carried = block.select(self._columns).columns
        if answers.kept is not None:
            carried = [filter_rows(column, answers.kept) for column in carried]
        arrays = [*carried, *answers.columns]
        return to_batch(arrays, self._writer.schema, block.first_record)

    def write(self, piece: pa.RecordBatch) -> None:
        """Gather rows; those that are enough for a row group are written while others come."""
        self._waiting.append(piece)
        self._rows += piece.num_rows
        if self._rows >= ROW_GROUP:
            table = self._take()
            self._background.submit(lambda: self._write(table))

    def finish(self) -> None:
        """Write the rest."""
        self._background.wait()
        self._background.close()
        if self._rows:
            self._write(self._take())
        with translate_write_errors(self._sink.name):
            self._writer.close()
        self._sink.flush()

    def discard(self) -> None:
        """Give up after a failure: nothing more is written, above all no end of the file."""
        self._background.close()
        self._writer.discard()

    def _take(self) -> pa.Table:
        table = pa.Table.from_batches(self._waiting, self._writer.schema)
        self._waiting, self._rows = [], 0
        return table

    def _write(self, table: pa.Table) -> None:
        with translate_write_errors(self._sink.name), translate_errors(self._sink.name):
            self._writer.write(table)


def output_schema(
    carried: Sequence[pa.Field],
    added: Sequence[pa.Field],
    metadata: Mapping[bytes, bytes] | None = None,
) -> pa.Schema:
    """Put the output's columns together."""
    plain = [
        field.with_type(pa.string()) if pa.types.is_dictionary(field.type) else field
        for field in added
    ]
    return pa.schema([*map(_without_views, carried), *plain], metadata)


def _without_views(field: pa.Field) -> pa.Field:
    kind = field.type
    if pa.types.is_dictionary(kind):
        plain = {pa.string_view(): pa.string(), pa.binary_view(): pa.binary()}
        if values := plain.get(kind.value_type):
            return field.with_type(pa.dictionary(kind.index_type, values, kind.ordered))
    return field


def to_batch(arrays: Sequence[pa.Array], schema: pa.Schema, first_record: int) -> pa.RecordBatch:
    """Bring columns to the output's types."""
    columns = [
        _cast(array, field, first_record) for array, field in zip(arrays, schema, strict=True)
    ]
    return pa.RecordBatch.from_arrays(columns, schema=schema)


def _cast(column: pa.Array, field: pa.Field, first_record: int) -> pa.Array:
    """Bring a column to its output type; text has to be UTF-8 here."""
    if column.type == field.type:
        return column
    try:
        if not pa.types.is_dictionary(column.type) or pa.types.is_dictionary(field.type):
            return column.cast(field.type)
        values = column.dictionary
        if pa.types.is_binary(values.type):  # reasons, which show bytes of the table
            texts = [_printable(value) for value in values.to_pylist()]
            values = text_array(texts)
        return values.take(column.indices)
    except pa.ArrowInvalid as exc:
        raise DataError(
            f"column {field.name!r} holds bytes that are no UTF-8 text, in the records from "
            f"{first_record} on; write it as CSV, which carries bytes unchanged, or give --encoding"
        ) from exc


def _printable(packed: bytes) -> str:
    r"""Show undecodable bytes in a reason as ``\\xff``."""
    raw = unpack_text(packed).encode("utf-8", "surrogateescape")
    return raw.decode("utf-8", "backslashreplace")
