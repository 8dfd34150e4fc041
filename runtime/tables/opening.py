"""Open a table of any format: recognise, decompress, transcode."""

from __future__ import annotations

import io
import os
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import IO, TYPE_CHECKING

from msgspec.structs import replace

from runtime import surfaces
from runtime.errors import DataError, SchemaError
from runtime.io.charsets import UTF_8, Encoding, TranscodedSource, detect_encoding
from runtime.io.paths import STANDARD_STREAM, is_regular
from runtime.io.sources import PeekedSource, open_range, open_source, read_chunk, source_name
from runtime.io.streams import translate_write_errors
from runtime.printable import MAX_LISTED
from runtime.schema.names import repeated_names, suggest_names
from runtime.tables.driver import ReadPlan
from runtime.tables.formats import (
    Format,
    check_content,
    check_text,
    detect_kind,
    detect_signature,
    file_driver,
    format_from_name,
    text_driver,
    to_compression,
)
from runtime.value import Value

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import pyarrow as pa

    from runtime.io.paths import Location
    from runtime.io.stores.object_path import ObjectPath
    from runtime.io.streams import ByteSource, CountedSource
    from runtime.tables.base import Table
    from runtime.tables.driver import ReadAhead
    from runtime.tables.options import ReadOptions
    from runtime.tables.spans import Span


_CHUNK_BYTES = 1024 * 1024


class DecodedSource(Value, frozen=True):
    """A source of decoded bytes.

    Attributes:
        source: of text in UTF-8 or another encoding with ASCII, or of Parquet or Arrow. Its
            ``bytes_read`` counts bytes of the file.
        format: of the file.
        encoding: of the text in the file.
    """

    source: CountedSource
    format: Format
    encoding: Encoding


def decode_source(
    source: ByteSource, stored: Format | None, *, where: str, encoding: Encoding | None = None
) -> DecodedSource:
    """Detect or check the format of a table, and decode it."""
    peeked = PeekedSource(source, where=where)
    head = peeked.peek()
    compression = stored.compression if stored else to_compression(detect_signature(head))
    if stored:
        check_content(head, stored, where=where)
    if compression:
        from runtime.io.compression import decompressed_source

        peeked = PeekedSource(decompressed_source(peeked, compression, where=where), where=where)
        head = peeked.peek()
    if not stored:
        detected = Format(detect_kind(head))
        # A compressed binary format is refused below.
        kind = detected.kind if detected.is_text or not compression else "csv"
        stored = Format(kind, compression)
    if not stored.is_text:
        if not head:
            raise DataError(f"{where} is empty: it has no column names")
        return DecodedSource(peeked, stored, UTF_8)
    check_text(head, stored, where=where, encoding=encoding)
    found = detect_encoding(head, encoding, where=where)
    if found.is_wide:
        return DecodedSource(TranscodedSource(peeked, found, where=where), stored, found)
    return DecodedSource(peeked, stored, found)


def detect_storage(source: Location, options: ReadOptions) -> tuple[Format, Encoding]:
    """Detect how a table is stored: its format, and the encoding of text."""
    where = source_name(source)
    stored = options.format or format_from_name(source)
    with open_source(source) as stream:
        opened = decode_source(stream, stored, where=where, encoding=options.encoding)
    return opened.format, opened.encoding


@contextmanager
def open_table(
    source: Location, options: ReadOptions, required: Sequence[str], span: Span | None = None
) -> Iterator[Table]:
    """Open a table, or a span of it; ``required`` columns help to detect a delimiter."""
    where = source_name(source)
    stored = options.format
    if stored is None and source != STANDARD_STREAM:
        stored = format_from_name(source)
    with open_source(source) as stream:
        opened = decode_source(stream, stored, where=where, encoding=options.encoding)
        plan = _plan(opened, options, required, where)
        if span:
            from runtime.tables.spans import SpanSource  # a table is rarely divided

            open_span = partial(open_range, source, span.start, span.stop)
            plan = replace(plan, span=SpanSource(span, open_span))
        if not isinstance(source, Path) or (source != STANDARD_STREAM and is_regular(source)):
            plan = replace(plan, reopen=partial(_reopen, source, opened))
        if opened.format.is_text:
            yield text_driver(plan.kind).open_text(opened.source, plan)
        elif isinstance(source, Path):
            with _seekable(source, opened, where) as file:
                yield file_driver(plan.kind).open_file(file, plan)
        else:
            with _stored(source) as (file, read_ahead):
                plan = replace(plan, read_ahead=read_ahead)
                yield file_driver(plan.kind).open_file(file, plan)


@contextmanager
def _reopen(source: Location, opened: DecodedSource) -> Iterator[CountedSource]:
    """Open the bytes of a table again, decoded as at first."""
    where, encoding = source_name(source), opened.encoding
    with open_source(source) as stream:
        yield decode_source(stream, opened.format, where=where, encoding=encoding).source


def open_bytes(
    content: bytes | bytearray,
    stored: Format,
    options: ReadOptions,
    required: Sequence[str],
    *,
    where: str,
) -> Table:
    """Open a table in memory."""
    opened = decode_source(io.BytesIO(content), stored, where=where, encoding=options.encoding)
    plan = _plan(opened, options, required, where)
    if stored.is_text:
        return text_driver(plan.kind).open_text(opened.source, plan)
    import pyarrow as pa

    return file_driver(plan.kind).open_file(pa.BufferReader(content), plan)


def choose_columns(
    columns: Sequence[str], required: Sequence[str] | None, option: str
) -> tuple[int, ...]:
    """Find columns by name; all columns for None."""
    if required is None:
        return tuple(range(len(columns)))
    where = surfaces.option(option)
    if repeated := repeated_names(required):
        raise SchemaError(f"{where} names {repeated[0]!r} more than once")
    unknown = [
        f"{where}: the table has no column {name!r}; {suggest_names(name, columns)}"
        for name in required
        if name not in columns
    ]
    if unknown:
        more = len(unknown) - MAX_LISTED
        rest = [f"and {more:,} more such names"] if more > 0 else []
        raise SchemaError("\n".join([*unknown[:MAX_LISTED], *rest]))
    for name in required:
        if (count := columns.count(name)) > 1:
            raise SchemaError(
                f"{where}: the table has {count} columns {name!r}; rename or drop all but one"
            )
    return tuple(columns.index(name) for name in required)


def _plan(
    opened: DecodedSource, options: ReadOptions, required: Sequence[str], where: str
) -> ReadPlan:
    return ReadPlan(
        opened.format.kind, where, opened.encoding, required, options.delimiter, options.decimal
    )


@contextmanager
def _seekable(source: Path, opened: DecodedSource, where: str) -> Iterator[pa.NativeFile]:
    """Open a seekable file; a pipe is copied to a temporary file."""
    import tempfile

    import pyarrow as pa

    if source != STANDARD_STREAM and source.is_file():
        with pa.OSFile(os.fsencode(source)) as file:  # a str must be valid UTF-8
            yield file
        return
    with _open_spool() as stored:
        while chunk := read_chunk(opened.source, _CHUNK_BYTES, where):
            with translate_write_errors(f"a temporary file in {tempfile.gettempdir()}"):
                stored.write(chunk)
        with translate_write_errors(f"a temporary file in {tempfile.gettempdir()}"):
            stored.seek(0)
        with pa.PythonFile(stored, "r") as file:
            yield file


@contextmanager
def _stored(source: ObjectPath) -> Iterator[tuple[pa.NativeFile, ReadAhead]]:
    """Open an object, which is read by ranges, and what requests ranges before they are read."""
    import pyarrow as pa

    from runtime.io.stores.reading import ObjectFile, open_reader

    with ObjectFile(open_reader(source)) as stored, pa.PythonFile(stored, "r") as file:
        yield file, stored.read_ahead


def _open_spool() -> IO[bytes]:
    import tempfile

    try:
        return tempfile.TemporaryFile(prefix="onnxferry-")
    except OSError as exc:
        raise DataError(
            f"cannot create a temporary file for a table from a pipe: {exc.strerror}; "
            "free disk space, set TMPDIR to another folder, or give the table as a file"
        ) from exc
