"""Read record batches from Parquet files, Arrow IPC files and streams."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
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
        self._span = plan.span.span if plan.span else None
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
        groups, skipped = range(self._file.metadata.num_row_groups), 0
        if self._span:
            groups, skipped = find_groups(self._file.metadata, self._span.start, self._span.stop)
        if self._read_ahead:
            self._read_ahead(_column_ranges(self._file.metadata, groups, set(columns)))
        # One thread: decoding overlaps with scoring, more would compete for the cores.
        batches = self._file.iter_batches(
            BATCH_ROWS, row_groups=groups, columns=list(columns), use_threads=False
        )
        if self._span:
            stop = rows if self._span.stop is None else self._span.stop
            batches = _cut(batches, skipped, stop - self._span.start)
        for batch in read_ahead(batches):
            rows_read += batch.num_rows
            self.progress = self._size * rows_read // max(rows, 1)
            yield batch


def find_groups(metadata: Any, start: int, stop: int | None) -> tuple[range, int]:  # noqa: ANN401 - as above
    """Find the row groups that hold some rows, and count the rows before these in them."""
    rows = [metadata.row_group(number).num_rows for number in range(metadata.num_row_groups)]
    ends = np.cumsum(rows, dtype=np.int64)
    stop = sum(rows) if stop is None else stop
    if start >= stop:
        return range(0), 0
    first, last = np.searchsorted(ends, [start, stop - 1], side="right").tolist()
    return range(first, last + 1), start - (int(ends[first]) - rows[first])


def _cut(batches: Iterator[pa.RecordBatch], skipped: int, rows: int) -> Iterator[pa.RecordBatch]:
    """Cut batches anew after some rows: pages of the output depend on where batches end."""
    pieces: list[pa.RecordBatch] = []
    at = -skipped
    for batch in batches:
        start, end = max(-at, 0), min(batch.num_rows, rows - at)
        while start < end:
            size = min(end - start, BATCH_ROWS - (at + start) % BATCH_ROWS)
            pieces.append(batch.slice(start, size))
            start += size
            if (at + start) % BATCH_ROWS == 0 or at + start == rows:
                yield from _combine(pieces)
                pieces = []
        at += batch.num_rows


def _combine(pieces: list[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    if len(pieces) == 1:
        yield pieces[0]
    else:
        yield from pa.Table.from_batches(pieces).combine_chunks().to_batches()


def _column_ranges(metadata: Any, groups: range, columns: set[str]) -> list[tuple[int, int]]:  # noqa: ANN401 - as above
    """List where the columns are in the file, in the order in which they are read."""
    found = []
    for group in map(metadata.row_group, groups):
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
