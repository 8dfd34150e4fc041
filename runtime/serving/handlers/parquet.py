"""The size of a Parquet body once it is read: a few bytes of it can stand for gigabytes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from runtime.errors import DataError, OversizeError, RequestError, first_line
from runtime.surfaces import server_option

if TYPE_CHECKING:
    from collections.abc import Iterator

    from runtime.serving.settings import Limits

_BATCH_ROWS: Final = 4096  # read at once before the size is compared
_BYTES: Final = {"BOOLEAN": 1, "INT32": 4, "INT64": 8, "INT96": 12, "FLOAT": 4, "DOUBLE": 8}
_TEXT: Final = "BYTE_ARRAY"


def check_parquet(body: bytes | bytearray, limits: Limits, *, where: str) -> None:
    """Check that a table has no more rows, and once decoded no more bytes, than a body may have.

    Args:
        body: the Parquet file.
        limits: of the server.
        where: its name in messages.

    Raises:
        DataError: when it cannot be read.
        RequestError: when a column is nested or of an extension type, whose size is not known.
        OversizeError: when it is larger.
    """
    import pyarrow as pa

    try:
        _check(body, limits, where)
    except (pa.ArrowException, OSError, RuntimeError) as exc:
        raise DataError(f"{where} is not a Parquet file: {first_line(exc)}") from exc


def _check(body: bytes | bytearray, limits: Limits, where: str) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    metadata = pq.read_metadata(pa.BufferReader(body))
    if metadata.num_rows > limits.rows:
        raise too_many_rows(limits)
    columns = [metadata.schema.column(index) for index in range(metadata.num_columns)]
    for column in columns:
        if column.max_repetition_level or column.path != column.name:
            name = column.path.partition(".")[0]
            raise RequestError(f"{where}: column {name!r} is nested; leave it out, or send JSON")
    chunks = (
        metadata.row_group(group).column(index).total_uncompressed_size
        for group in range(metadata.num_row_groups)
        for index in range(metadata.num_columns)
    )
    widths = (_BYTES.get(column.physical_type, max(column.length, 0)) for column in columns)
    size = metadata.num_rows * sum(widths)
    if max(size, sum(chunks)) > limits.body_bytes:
        raise _too_large(limits)
    text = [column.name for column in columns if column.physical_type == _TEXT]
    if text and len({column.name for column in columns}) == len(columns):  # else refused when read
        file = pq.ParquetFile(pa.BufferReader(body), read_dictionary=text)
        for field in map(file.schema_arrow.field, text):
            if not pa.types.is_dictionary(field.type):
                raise RequestError(f"{where}: column {field.name!r} is {field.type}; send text")
        for batch in file.iter_batches(_BATCH_ROWS, columns=text, use_threads=False):
            size += sum(_text_bytes(batch))
            if size > limits.body_bytes:
                raise _too_large(limits)


def _text_bytes(batch: Any) -> Iterator[int]:  # noqa: ANN401 - pyarrow publishes no types
    """Yield the bytes of each column of text, whose repeated values are still stored once."""
    import pyarrow.compute as pc

    for column in batch.columns:
        lengths = pc.binary_length(column.dictionary)
        yield pc.sum(lengths.take(column.indices)).as_py() or 0


def too_many_rows(limits: Limits) -> OversizeError:
    """Return the error of a table with more rows than a request may have."""
    return OversizeError(
        f"more than the {limits.rows} rows allowed in one request; send them in parts"
    )


def _too_large(limits: Limits) -> OversizeError:
    return OversizeError(
        f"the decoded table is larger than {limits.body_bytes} bytes; send it in parts, or raise "
        + server_option("max_body")
    )
