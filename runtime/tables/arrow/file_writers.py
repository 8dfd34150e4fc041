"""Write Parquet and Arrow IPC files; Parquet columns are encoded as their source's were."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from runtime.io.streams import DetachableSink
from runtime.tables.added import LABEL
from runtime.tables.arrow.errors import translate_errors
from runtime.tables.arrow.writer import ROW_GROUP
from runtime.value import Value

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from runtime.io.sinks import Sink


_ARROW_SCHEMA = b"ARROW:schema"  # where Arrow's readers find the types of a Parquet file


class ParquetWriter:
    """Writes Parquet with page checksums, each column encoded as its source was."""

    def __init__(self, sink: Sink, schema: pa.Schema, labels: Sequence[str], metadata: Any) -> None:  # noqa: ANN401 - pyarrow publishes no types
        """Begin the file."""
        import pyarrow.parquet as pq

        encoding = _choose_encoding(metadata, schema)
        self.schema = _with_positions(schema, labels)
        self._stream = DetachableSink(sink.stream)
        with translate_errors(sink.name):
            self._writer = pq.ParquetWriter(
                self._stream,
                self.schema,
                compression=encoding.codecs,
                use_dictionary=encoding.with_dictionary,
                # The minimum and maximum class of a row group are of no use.
                write_statistics=[name for name in encoding.columns if name not in labels],
                write_page_checksum=True,
                store_schema=False,
            )
            self._writer.add_key_value_metadata(_describe(schema))

    def write(self, table: pa.Table) -> None:
        """Write a row group."""
        self._writer.write_table(table, row_group_size=2 * ROW_GROUP)

    def close(self) -> None:
        """Write the footer."""
        self._writer.close()

    def discard(self) -> None:
        """Write nothing more."""
        self._stream.detach()


class _Encoding(Value, frozen=True):
    """How columns are written.

    Attributes:
        codecs: compression by column.
        with_dictionary: names of the dictionary-encoded columns.
        columns: names of all; those within lists and structs as far as they are known.
    """

    codecs: dict[str, str]
    with_dictionary: list[str]
    columns: list[str]


def _with_positions(schema: pa.Schema, labels: Sequence[str]) -> pa.Schema:
    fields = [field.with_type(LABEL) if field.name in labels else field for field in schema]
    return pa.schema(fields, schema.metadata)


def _describe(schema: pa.Schema) -> Mapping[bytes, bytes]:
    """Write down a schema as Arrow does it: https://arrow.apache.org/docs/cpp/parquet.html."""
    content = base64.b64encode(schema.serialize().to_pybytes())
    return {**(schema.metadata or {}), _ARROW_SCHEMA: content}


def _choose_encoding(metadata: Any, schema: pa.Schema) -> _Encoding:  # noqa: ANN401 - as above
    """Write columns as their source does, else as suits their types.

    Probabilities are noise to a codec and to a dictionary: they are written plainly.
    """
    text = [field.name for field in schema if _repeats(field.type)]
    codecs = {field.name: "snappy" for field in schema}
    codecs |= {field.name: "none" for field in schema if pa.types.is_float32(field.type)}
    if metadata is None or not metadata.num_row_groups:
        return _Encoding(codecs, text, schema.names)
    group = metadata.row_group(0)
    columns = [group.column(number) for number in range(group.num_columns)]
    known = {column.path_in_schema for column in columns}
    codecs |= {
        column.path_in_schema: column.compression.lower().replace("uncompressed", "none")
        for column in columns
    }
    encoded = [column.path_in_schema for column in columns if _dictionary_pays(column)]
    encoded += [name for name in text if name not in known]
    return _Encoding(codecs, encoded, [*known, *(set(schema.names) - known)])


def _repeats(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_dictionary(kind))


def _dictionary_pays(column: Any) -> bool:  # noqa: ANN401 - as above
    """Tell whether a column's dictionary made it smaller: writers begin one in any case."""
    width = {"INT32": 4, "INT64": 8, "FLOAT": 4, "DOUBLE": 8}.get(column.physical_type)
    if not column.has_dictionary_page or width is None:
        return bool(column.has_dictionary_page)
    return bool(column.total_uncompressed_size < 0.75 * width * column.num_values)


class IpcWriter:
    """Writes the Arrow IPC file format."""

    def __init__(self, sink: Sink, schema: pa.Schema) -> None:
        """Begin the file."""
        self.schema = schema
        # A file has one dictionary a column: it may grow, and all batches share it.
        options = pa.ipc.IpcWriteOptions(emit_dictionary_deltas=True)
        self._stream = DetachableSink(sink.stream)
        self._writer = pa.ipc.new_file(self._stream, schema, options=options)
        self._dictionaries: dict[str, pa.Array] = {}

    def write(self, table: pa.Table) -> None:
        """Write batches."""
        for at, field in enumerate(table.schema):
            if pa.types.is_dictionary(field.type):
                table = table.set_column(at, field, self._share(field, table.column(at)))
        self._writer.write_table(table)

    def _share(self, field: pa.Field, column: pa.ChunkedArray) -> pa.ChunkedArray:
        """Give all batches of a column one dictionary, which begins with the one before."""
        known = self._dictionaries.get(field.name)
        if known is not None:
            none = pa.nulls(0, field.type.index_type)
            first = pa.DictionaryArray.from_arrays(none, known, ordered=field.type.ordered)
            column = pa.chunked_array([first, *column.chunks], field.type)
        column = column.unify_dictionaries()
        self._dictionaries[field.name] = column.chunk(0).dictionary
        return column

    def close(self) -> None:
        """Write the footer."""
        self._writer.close()

    def discard(self) -> None:
        """Write nothing more."""
        self._stream.detach()
