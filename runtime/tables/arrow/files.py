"""Read record batches from Parquet files, Arrow IPC files and streams."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pyarrow as pa

from runtime.errors import DataError, first_line
from runtime.io.parallel import read_ahead
from runtime.tables.arrow.int96 import choose_unit
from runtime.tables.arrow.table import BATCH_ROWS

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from runtime.tables.arrow.int96 import Unit
    from runtime.tables.driver import ReadPlan


class ParquetBatches:
    """Reads a Parquet file; page checksums are verified if present."""

    def __init__(self, file: Any, plan: ReadPlan) -> None:  # noqa: ANN401 - pyarrow publishes no types
        """Read the footer."""
        where, self._read_ahead = plan.where, plan.read_ahead
        import pyarrow.parquet as pq

        def open_file(unit: Unit) -> Any:  # noqa: ANN401 - as above
            return pq.ParquetFile(
                file, page_checksum_verification=True, coerce_int96_timestamp_unit=unit
            )

        try:
            self._file = open_file("ns")
            if (unit := choose_unit(self._file, open_file, where=where)) != "ns":
                self._file = open_file(unit)
            self._size = file.size() if hasattr(file, "size") else 0
            self.schema: pa.Schema = self._file.schema_arrow
        except (pa.ArrowInvalid, OSError, RuntimeError) as exc:
            raise DataError(f"{where} is not a Parquet file: {first_line(exc)}") from exc
        self.progress = 0

    @property
    def metadata(self) -> Any:  # noqa: ANN401 - as above
        """Metadata of the file: codecs and encodings of its columns."""
        return self._file.metadata

    def read(self, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
        """Read columns, at most ``BATCH_ROWS`` rows at a time."""
        rows, rows_read = self._file.metadata.num_rows, 0
        if self._read_ahead:
            self._read_ahead(_column_ranges(self._file.metadata, set(columns)))
        # One thread: decoding overlaps with scoring, more would compete for the cores.
        batches = self._file.iter_batches(BATCH_ROWS, columns=list(columns), use_threads=False)
        for batch in read_ahead(batches):
            rows_read += batch.num_rows
            self.progress = self._size * rows_read // max(rows, 1)
            yield batch


def _column_ranges(metadata: Any, columns: set[str]) -> list[tuple[int, int]]:  # noqa: ANN401 - as above
    """List where the columns are in the file, in the order in which they are read."""
    found = []
    for group in map(metadata.row_group, range(metadata.num_row_groups)):
        for column in map(group.column, range(group.num_columns)):
            if columns & {column.path_in_schema, column.path_in_schema.partition(".")[0]}:
                starts = (column.dictionary_page_offset, column.data_page_offset)
                start = min(offset for offset in starts if offset is not None)
                found.append((start, start + column.total_compressed_size))
    return found


class IpcBatches:
    """Reads an Arrow IPC file or stream."""

    def __init__(self, file: Any, plan: ReadPlan) -> None:  # noqa: ANN401 - as above
        """Read the schema."""
        self._file, where = file, plan.where
        try:
            self._reader = _open_ipc(file)
        except (pa.ArrowException, OSError) as exc:
            raise DataError(f"{where} is not an Arrow file: {first_line(exc)}") from exc
        self.schema: pa.Schema = self._reader.schema

    @property
    def progress(self) -> int:
        """Bytes read so far."""
        offset: int = self._file.tell()
        return offset

    def read(self, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:  # noqa: ARG002 - all are read
        """Read and validate whole batches: damaged ones would crash pyarrow."""
        for batch in self._batches():
            batch.validate(full=True)
            yield batch

    def _batches(self) -> Iterator[pa.RecordBatch]:
        if isinstance(self._reader, pa.RecordBatchStreamReader):
            yield from self._reader
        else:
            for number in range(self._reader.num_record_batches):
                yield self._reader.get_batch(number)


def _open_ipc(file: Any) -> Any:  # noqa: ANN401 - as above
    """Open the file format if its magic number is present, else the stream format."""
    if file.seekable():
        magic = file.read(6)
        file.seek(0)
        if magic == b"ARROW1":
            return pa.ipc.open_file(file)
    return pa.ipc.open_stream(file)
