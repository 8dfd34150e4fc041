"""Write a scored table as Parquet or Arrow IPC.

In: blocks with their answers. Out: the carried columns with their types (text where the source
knows only text), then the new ones. Raises ``DataError`` for text that is no UTF-8
and for what the format cannot hold.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Protocol

import pyarrow as pa

from runtime.errors import DataError
from runtime.files.atomic import writing
from runtime.tables.arrow import keep_rows, text_array
from runtime.tables.columnar.arrow_table import reason_of
from runtime.tables.text_cells import unpack_text
from runtime.value import Value

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from runtime.scoring.answers import Answers
    from runtime.scoring.endpoints import Sink
    from runtime.tables.stored.stored import ByteSink
    from runtime.tables.table import Block

ROW_GROUP = 524_288  # rows: as many as readers like, at a few megabytes a column


class BatchWriter(Protocol):
    """Writes tables of one schema."""

    def write(self, table: pa.Table) -> None:
        """Write rows."""

    def close(self) -> None:
        """Write what belongs at the end."""

    def discard(self) -> None:
        """Write nothing more."""


class ArrowOutput:
    """Typed columns being written; see ``runtime.tables.output.Output``."""

    def __init__(
        self, sink: Sink, writer: BatchWriter, schema: pa.Schema, columns: Sequence[int]
    ) -> None:
        """Take a writer.

        Args:
            sink: that it writes into.
            writer: of the format.
            schema: of the whole output.
            columns: positions of the source's columns that are carried.
        """
        self._sink, self._writer, self._schema = sink, writer, schema
        self._columns = columns
        self._waiting: list[pa.RecordBatch] = []
        self._rows = 0

    def encode(self, block: Block, answers: Answers) -> pa.RecordBatch:
        """Put carried and new columns side by side."""
        carried = block.select(self._columns).columns
        if answers.kept is not None:
            carried = [keep_rows(column, answers.kept) for column in carried]
        arrays = [*carried, *answers.columns]
        return as_batch(arrays, self._schema, block.first_record)

    def write(self, piece: pa.RecordBatch) -> None:
        """Gather rows, and write them when they are enough for a row group."""
        self._waiting.append(piece)
        self._rows += piece.num_rows
        if self._rows >= ROW_GROUP:
            self._flush()

    def finish(self) -> None:
        """Write the rest."""
        if self._rows:
            self._flush()
        with writing(self._sink.name):
            self._writer.close()
        self._sink.flush()

    def discard(self) -> None:
        """Give up after a failure: nothing more is written, above all no end of the file."""
        self._waiting, self._rows = [], 0
        self._writer.discard()

    def _flush(self) -> None:
        with writing(self._sink.name), _expressing(self._sink.name):
            self._writer.write(pa.Table.from_batches(self._waiting, self._schema))
        self._waiting, self._rows = [], 0


class _Tap:
    """A stream that can be shut: pyarrow's writers end their files when they are forgotten."""

    closed = False

    def __init__(self, stream: ByteSink) -> None:
        self._stream: ByteSink | None = stream

    def write(self, data: bytes | memoryview) -> None:
        """Pass bytes on while it is open."""
        if self._stream:
            self._stream.write(data)

    def flush(self) -> None:
        """Pass on what can be."""
        if self._stream:
            self._stream.flush()

    def shut(self) -> None:
        """Drop what comes from now on."""
        self._stream = None


class ParquetWriter:
    """Writes Parquet with page checksums, each column encoded as its source was."""

    def __init__(self, sink: Sink, schema: pa.Schema, metadata: Any) -> None:  # noqa: ANN401 - pyarrow publishes no types
        """Begin the file.

        Args:
            sink: where to write.
            schema: of the rows.
            metadata: of the Parquet file that the rows come from; None for another source.
        """
        import pyarrow.parquet as pq

        encoding = _choose_encoding(metadata, schema)
        self._tap = _Tap(sink.stream)
        with _expressing(sink.name):
            self._writer = pq.ParquetWriter(
                self._tap,
                schema,
                compression=encoding.codecs,
                use_dictionary=encoding.with_dictionary,
                write_page_checksum=True,
            )

    def write(self, table: pa.Table) -> None:
        """Write a row group."""
        self._writer.write_table(table, row_group_size=2 * ROW_GROUP)

    def close(self) -> None:
        """Write the footer."""
        self._writer.close()

    def discard(self) -> None:
        """Write nothing more."""
        self._tap.shut()


class IpcWriter:
    """Writes the Arrow IPC file format."""

    def __init__(self, sink: Sink, schema: pa.Schema) -> None:
        """Begin the file."""
        # A file has one dictionary a column: it may grow, and all batches share it.
        options = pa.ipc.IpcWriteOptions(emit_dictionary_deltas=True)
        self._tap = _Tap(sink.stream)
        self._writer = pa.ipc.new_file(self._tap, schema, options=options)
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
        self._tap.shut()


@contextmanager
def _expressing(name: str) -> Iterator[None]:
    """Say which types or values a format does not have."""
    try:
        yield
    except (pa.ArrowNotImplementedError, pa.ArrowInvalid) as exc:
        raise DataError(
            f"cannot write {name}: {reason_of(exc)}; leave such columns out with --columns, "
            "or choose another --out-format"
        ) from exc


def output_schema(
    carried: Sequence[pa.Field],
    added: Sequence[pa.Field],
    metadata: Mapping[bytes, bytes] | None = None,
) -> pa.Schema:
    """Put the output's columns together.

    Args:
        carried: fields of the carried columns.
        added: fields of the new ones.
        metadata: of the table that the carried columns come from.

    Returns:
        The schema: new dictionary columns become plain text, and views in a dictionary become
        what they view, since no format takes them.
    """
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


def as_batch(arrays: Sequence[pa.Array], schema: pa.Schema, first_record: int) -> pa.RecordBatch:
    """Bring columns to the output's types.

    Args:
        arrays: the columns, ``(rows,)`` each.
        schema: of the output.
        first_record: number of the first row, for messages.

    Returns:
        The rows.

    Raises:
        DataError: when bytes that are to be text are no UTF-8.
    """
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


class _Encoding(Value, frozen=True):
    """How columns are written.

    Attributes:
        codecs: compression by column.
        with_dictionary: names of the columns whose values are mostly told once.
    """

    codecs: dict[str, str]
    with_dictionary: list[str]


def _choose_encoding(metadata: Any, schema: pa.Schema) -> _Encoding:  # noqa: ANN401 - as above
    """Write columns as their source does, else as suits their types.

    Probabilities are noise to a codec and to a dictionary: they are written plainly.
    """
    text = [field.name for field in schema if _repeats(field.type)]
    codecs = {field.name: "snappy" for field in schema}
    codecs |= {field.name: "none" for field in schema if pa.types.is_float32(field.type)}
    if metadata is None or not metadata.num_row_groups:
        return _Encoding(codecs, text)
    group = metadata.row_group(0)
    columns = [group.column(number) for number in range(group.num_columns)]
    known = {column.path_in_schema for column in columns}
    codecs |= {
        column.path_in_schema: column.compression.lower().replace("uncompressed", "none")
        for column in columns
    }
    encoded = [column.path_in_schema for column in columns if _dictionary_pays(column)]
    return _Encoding(codecs, [*encoded, *(name for name in text if name not in known)])


def _repeats(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_dictionary(kind))


def _dictionary_pays(column: Any) -> bool:  # noqa: ANN401 - as above
    """Tell whether a column's dictionary made it smaller: writers begin one in any case."""
    width = {"INT32": 4, "INT64": 8, "FLOAT": 4, "DOUBLE": 8}.get(column.physical_type)
    if not column.has_dictionary_page or width is None:
        return bool(column.has_dictionary_page)
    return bool(column.total_uncompressed_size < 0.75 * width * column.num_values)


def _printable(packed: bytes) -> str:
    r"""Show undecodable bytes in a reason as ``\\xff``."""
    raw = unpack_text(packed).encode("utf-8", "surrogateescape")
    return raw.decode("utf-8", "backslashreplace")
