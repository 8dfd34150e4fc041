"""Write tables as an Arrow IPC file."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa

from runtime.tables.columnar.tap import Tap

if TYPE_CHECKING:
    from runtime.scoring.endpoints import Sink


class IpcWriter:
    """Writes the Arrow IPC file format."""

    def __init__(self, sink: Sink, schema: pa.Schema) -> None:
        """Begin the file."""
        self.schema = schema
        # A file has one dictionary a column: it may grow, and all batches share it.
        options = pa.ipc.IpcWriteOptions(emit_dictionary_deltas=True)
        self._tap = Tap(sink.stream)
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
