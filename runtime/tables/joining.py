"""Join the outputs of the spans of a table into one file."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from runtime.io.sources import open_source, read_chunk
from runtime.tables.formats import file_driver

if TYPE_CHECKING:
    from collections.abc import Iterable

    from runtime.io.paths import Location
    from runtime.io.sinks import Sink
    from runtime.tables.formats import Format

_COPY_BYTES: Final = 8 * 1024 * 1024


def join_files(stored: Format, parts: Iterable[tuple[Location, int]], sink: Sink) -> None:
    """Join parts, given with their sizes, that were written with ``WritePlan.begins`` and ``ends``.

    Raises ``DataError`` when one of them cannot be read.
    """
    if stored.is_text:
        for location, _ in parts:
            with open_source(location) as stream:
                while chunk := read_chunk(stream, _COPY_BYTES, str(location)):
                    sink.write(chunk)
    else:
        file_driver(stored.kind).join(parts, sink)
    sink.flush()
