"""Sources of table bytes: opening, peeking, counting, reading in chunks."""

from __future__ import annotations

import io
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from runtime.errors import DataError
from runtime.io.paths import STANDARD_STREAM

if TYPE_CHECKING:
    from collections.abc import Iterator

    from runtime.io.paths import Location
    from runtime.io.streams import ByteSource

PEEK_SIZE = 512  # bytes: the magic number of a tar archive is at offset 257
MAX_RECORD_BYTES = 64 * 1024 * 1024  # a longer one means another kind of file


def source_name(source: Location) -> str:
    """Return the name of a source in messages."""
    return "standard input" if source == STANDARD_STREAM else str(source)


@contextmanager
def open_source(source: Location) -> Iterator[ByteSource]:
    """Open a table for reading, unbuffered; ``-`` is standard input."""
    if not isinstance(source, Path):
        from runtime.io.stores.reading import open_stream

        with open_stream(source) as found:
            yield found
        return
    if source == STANDARD_STREAM:
        yield io.FileIO(sys.stdin.fileno(), closefd=False)
        return
    try:
        stream = source.open("rb", buffering=0)
    except OSError as exc:
        raise DataError(f"cannot read {source}: {exc.strerror}; give the path of a table") from exc
    with stream:
        yield stream


@contextmanager
def open_range(source: Location, start: int, stop: int | None = None) -> Iterator[ByteSource]:
    """Open the bytes of a regular file or object from ``start`` to ``stop``, or to its end."""
    if not isinstance(source, Path):
        from runtime.io.stores.reading import open_stream

        with open_stream(source, start, stop) as found:
            yield found
        return
    with open_source(source) as stream:
        stream.seek(start)  # type: ignore[attr-defined]  # a file
        yield stream if stop is None else _Limited(stream, stop - start)


class _Limited:
    """The first bytes of a source."""

    def __init__(self, source: ByteSource, size: int) -> None:
        self._source, self._left = source, size

    def read(self, size: int, /) -> bytes | None:
        """Read at most ``size`` bytes, empty at the end."""
        piece = self._source.read(min(size, self._left)) if self._left else b""
        self._left -= len(piece or b"")
        return piece


class PeekedSource:
    """A source whose first bytes can be inspected before they are read."""

    def __init__(self, source: ByteSource, *, where: str) -> None:
        """Wrap a source at its beginning; ``where`` names it in messages."""
        self._source, self._where = source, where
        self._peeked = b""
        self._count = 0

    @property
    def bytes_read(self) -> int:
        """Bytes read from storage, as counted by the source if it counts."""
        stored: int | None = getattr(self._source, "bytes_read", None)
        return self._count if stored is None else stored

    def peek(self, size: int = PEEK_SIZE) -> bytes:
        """Return the first bytes, which ``read`` returns again; fewer only at the end."""
        if len(self._peeked) < size:
            self._peeked += read_chunk(self._source, size - len(self._peeked), self._where)
        return self._peeked[:size]

    def read(self, size: int, /) -> bytes | None:
        """Read at most ``size`` bytes, empty at the end; None when none are available yet."""
        if self._peeked:
            piece: bytes | None = self._peeked[:size]
            self._peeked = self._peeked[size:]
        else:
            piece = self._source.read(size)
        self._count += len(piece or b"")
        return piece


def read_chunk(stream: ByteSource, size: int, where: str) -> bytes:
    """Read exactly ``size`` bytes, fewer only at the end.

    Raises ``DataError`` when the stream cannot be read, or has neither data nor an end.
    """
    pieces: list[bytes] = []
    while size > 0:
        try:
            piece = stream.read(size)
        except OSError as exc:
            raise DataError(f"cannot read {where}: {exc.strerror}") from exc
        if piece is None:
            raise nonblocking_error(where)
        if not piece:
            break
        pieces.append(piece)
        size -= len(piece)
    return b"".join(pieces)


def nonblocking_error(where: str) -> DataError:
    """Return the error for a non-blocking source without data, which is not the end of a table."""
    return DataError(f"{where} is non-blocking and has no data yet: give a file or a blocking pipe")
