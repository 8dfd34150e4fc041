"""Write Parquet and Arrow IPC files."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from runtime.io.streams import DetachableSink
from runtime.tables.arrays import LABEL
from runtime.tables.arrow.writer import ROW_GROUP_ROWS, translate_type_errors
from runtime.value import Value

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from runtime.io.sinks import Sink


_ARROW_SCHEMA = b"ARROW:schema"  # key of a Parquet file's Arrow types


class ParquetWriter:
    """Writes Parquet with page checksums, each column encoded as in its source."""

    def __init__(self, sink: Sink, schema: pa.Schema, labels: Sequence[str], metadata: Any) -> None:  # noqa: ANN401 - pyarrow publishes no types
        """Open the file."""
        import pyarrow.parquet as pq

        encoding = _choose_encoding(metadata, schema)
        self.schema = _with_dictionary_labels(schema, labels)
        self._stream = DetachableSink(sink.stream)
        with translate_type_errors(sink.name):
            self._writer = pq.ParquetWriter(
                self._stream,
                self.schema,
                compression=encoding.codecs,
                use_dictionary=encoding.with_dictionary,
                # Statistics of class names are useless.
                write_statistics=[name for name in encoding.columns if name not in labels],
                write_page_checksum=True,
                store_schema=False,
            )
            self._writer.add_key_value_metadata(_schema_metadata(schema))

    def write(self, table: pa.Table) -> None:
        """Write a row group."""
        self._writer.write_table(table, row_group_size=2 * ROW_GROUP_ROWS)

    def close(self) -> None:
        """Write the footer."""
        self._writer.close()

    def discard(self) -> None:
        """Abort without a footer."""
        self._stream.detach()


class _ParquetEncoding(Value, frozen=True):
    """Encodings of Parquet columns.

    Attributes:
        codecs: compression by column.
        with_dictionary: names of the dictionary-encoded columns.
        columns: paths of all; nested ones as far as they are known.
    """

    codecs: dict[str, str]
    with_dictionary: list[str]
    columns: list[str]


def _with_dictionary_labels(schema: pa.Schema, labels: Sequence[str]) -> pa.Schema:
    fields = [field.with_type(LABEL) if field.name in labels else field for field in schema]
    return pa.schema(fields, schema.metadata)


def _schema_metadata(schema: pa.Schema) -> Mapping[bytes, bytes]:
    """Serialize a schema as Arrow does: https://arrow.apache.org/docs/cpp/parquet.html."""
    content = base64.b64encode(schema.serialize().to_pybytes())
    return {**(schema.metadata or {}), _ARROW_SCHEMA: content}


def _choose_encoding(metadata: Any, schema: pa.Schema) -> _ParquetEncoding:  # noqa: ANN401 - as above
    """Choose the encodings of the source, else by type: float32 is stored plain."""
    text = [field.name for field in schema if _is_text(field.type)]
    codecs = {field.name: "snappy" for field in schema}
    codecs |= {field.name: "none" for field in schema if pa.types.is_float32(field.type)}
    if metadata is None or not metadata.num_row_groups:
        return _ParquetEncoding(codecs, text, schema.names)
    group = metadata.row_group(0)
    columns = [group.column(number) for number in range(group.num_columns)]
    known = {column.path_in_schema for column in columns}
    codecs |= {
        column.path_in_schema: column.compression.lower().replace("uncompressed", "none")
        for column in columns
    }
    encoded = [column.path_in_schema for column in columns if _is_dictionary_smaller(column)]
    encoded += [name for name in text if name not in known]
    return _ParquetEncoding(codecs, encoded, [*known, *(set(schema.names) - known)])


def _is_text(data_type: pa.DataType) -> bool:
    return bool(pa.types.is_string(data_type) or pa.types.is_dictionary(data_type))


def _is_dictionary_smaller(column: Any) -> bool:  # noqa: ANN401 - as above
    """Check whether a column's dictionary saved space: writers always start with one."""
    width = {"INT32": 4, "INT64": 8, "FLOAT": 4, "DOUBLE": 8}.get(column.physical_type)
    if not column.has_dictionary_page or width is None:
        return bool(column.has_dictionary_page)
    return bool(column.total_uncompressed_size < 0.75 * width * column.num_values)


class IpcWriter:
    """Writes the Arrow IPC file format."""

    def __init__(self, sink: Sink, schema: pa.Schema) -> None:
        """Open the file."""
        self.schema = schema
        # All batches share one dictionary per column, which may grow.
        options = pa.ipc.IpcWriteOptions(emit_dictionary_deltas=True)
        self._stream = DetachableSink(sink.stream)
        self._writer = pa.ipc.new_file(self._stream, schema, options=options)
        self._dictionaries: dict[str, pa.Array] = {}

    def write(self, table: pa.Table) -> None:
        """Write batches."""
        for index, field in enumerate(table.schema):
            if pa.types.is_dictionary(field.type):
                column = self._unify_dictionary(field, table.column(index))
                table = table.set_column(index, field, column)
        self._writer.write_table(table)

    def _unify_dictionary(self, field: pa.Field, column: pa.ChunkedArray) -> pa.ChunkedArray:
        """Unify a column's dictionary with the previous batches'."""
        previous = self._dictionaries.get(field.name)
        if previous is not None:
            indices = pa.nulls(0, field.type.index_type)
            first = pa.DictionaryArray.from_arrays(indices, previous, ordered=field.type.ordered)
            column = pa.chunked_array([first, *column.chunks], field.type)
        column = column.unify_dictionaries()
        self._dictionaries[field.name] = column.chunk(0).dictionary
        return column

    def close(self) -> None:
        """Write the footer."""
        self._writer.close()

    def discard(self) -> None:
        """Abort without a footer."""
        self._stream.detach()
