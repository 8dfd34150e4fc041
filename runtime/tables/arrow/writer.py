"""Write scored tables as Parquet or Arrow IPC."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

import pyarrow as pa

from runtime.errors import DataError, first_line
from runtime.io.parallel import BackgroundWriter
from runtime.io.streams import translate_write_errors
from runtime.surfaces import advise_encoding, option
from runtime.tables.arrays import filter_rows, text_array
from runtime.tables.text import unpack_text

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from runtime.io.sinks import Sink
    from runtime.tables.base import AddedColumns, Block


ROW_GROUP_ROWS = 524_288  # a few megabytes per column


@contextmanager
def translate_type_errors(name: str) -> Iterator[None]:
    """Describe a type or value that the output format does not support."""
    try:
        yield
    except (pa.ArrowNotImplementedError, pa.ArrowInvalid, OSError) as exc:
        if isinstance(exc, OSError) and exc.errno is not None:
            raise  # from the operating system; Arrow's own errors have no errno
        raise DataError(
            f"cannot write {name}: {first_line(exc)}; leave out such columns with "
            f"{option('columns')}, or choose another {option('out_format')}"
        ) from exc


class BatchWriter(Protocol):
    """Writes tables of one schema.

    Attributes:
        schema: of the tables.
    """

    schema: pa.Schema

    def write(self, table: pa.Table) -> None:
        """Write rows."""

    def close(self) -> None:
        """Write the end of the file."""

    def discard(self) -> None:
        """Abort without a footer."""


class ArrowWriter:
    """Writes typed columns; see ``runtime.tables.base.TableWriter``."""

    def __init__(self, sink: Sink, writer: BatchWriter, columns: Sequence[int]) -> None:
        """Wrap a writer of batches."""
        self._sink, self._writer, self._columns = sink, writer, columns
        self._pending: list[pa.RecordBatch] = []
        self._rows = 0
        self._background = BackgroundWriter("write")

    def encode(self, block: Block, added: AddedColumns) -> pa.RecordBatch:
        """Combine carried and new columns."""
        carried = block.select(self._columns).columns
        if added.kept is not None:
            carried = [filter_rows(column, added.kept) for column in carried]
        arrays = [*carried, *added.columns]
        return to_batch(arrays, self._writer.schema, block.first_record)

    def write(self, chunk: pa.RecordBatch) -> None:
        """Collect rows; full row groups are written in the background."""
        self._pending.append(chunk)
        self._rows += chunk.num_rows
        if self._rows >= ROW_GROUP_ROWS:
            table = self._pop_table()
            self._background.submit(lambda: self._write(table))

    def finish(self) -> None:
        """Write the remaining rows and the end of the file."""
        self._background.wait()
        self._background.close()
        if self._rows:
            self._write(self._pop_table())
        with translate_write_errors(self._sink.name):
            self._writer.close()
        self._sink.flush()

    def discard(self) -> None:
        """Abort without a footer."""
        self._background.close()
        self._writer.discard()

    def _pop_table(self) -> pa.Table:
        table = pa.Table.from_batches(self._pending, self._writer.schema)
        self._pending, self._rows = [], 0
        return table

    def _write(self, table: pa.Table) -> None:
        with translate_write_errors(self._sink.name), translate_type_errors(self._sink.name):
            self._writer.write(table)


def output_schema(
    carried: Sequence[pa.Field],
    added: Sequence[pa.Field],
    metadata: Mapping[bytes, bytes] | None = None,
) -> pa.Schema:
    """Build the schema of the output."""
    plain = [
        field.with_type(pa.string()) if pa.types.is_dictionary(field.type) else field
        for field in added
    ]
    return pa.schema([*map(_replace_view_dictionary, carried), *plain], metadata)


def _replace_view_dictionary(field: pa.Field) -> pa.Field:
    data_type = field.type
    if pa.types.is_dictionary(data_type):
        plain = {pa.string_view(): pa.string(), pa.binary_view(): pa.binary()}
        if values := plain.get(data_type.value_type):
            return field.with_type(pa.dictionary(data_type.index_type, values, data_type.ordered))
    return field


def to_batch(arrays: Sequence[pa.Array], schema: pa.Schema, first_record: int) -> pa.RecordBatch:
    """Cast columns to the types of the output."""
    columns = [
        _cast(array, field, first_record) for array, field in zip(arrays, schema, strict=True)
    ]
    return pa.RecordBatch.from_arrays(columns, schema=schema)


def _cast(column: pa.Array, field: pa.Field, first_record: int) -> pa.Array:
    """Cast a column to its output type; text must be valid UTF-8."""
    if column.type == field.type:
        return column
    try:
        if not pa.types.is_dictionary(column.type) or pa.types.is_dictionary(field.type):
            return column.cast(field.type)
        values = column.dictionary
        if pa.types.is_binary(values.type):  # reasons, with undecodable bytes
            texts = [_escape_undecodable(value) for value in values.to_pylist()]
            values = text_array(texts)
        return values.take(column.indices)
    except pa.ArrowInvalid as exc:
        raise DataError(
            f"column {field.name!r} has bytes that are not UTF-8 text, in the records from "
            f"{first_record} on; write it as CSV, which carries bytes unchanged, or "
            + advise_encoding()
        ) from exc


def _escape_undecodable(packed: bytes) -> str:
    r"""Escape undecodable bytes in a reason as ``\\xff``."""
    raw = unpack_text(packed).encode("utf-8", "surrogateescape")
    return raw.decode("utf-8", "backslashreplace")
