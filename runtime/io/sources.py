"""Where a table's bytes come from: opened, peeked at, counted and read in chunks."""

from __future__ import annotations

import io
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

from runtime.errors import DataError
from runtime.io.paths import STANDARD_STREAM

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from runtime.io.streams import ByteSource

PEEK_SIZE = 512  # bytes: the magic number of a tar archive stands at 257
MAX_RECORD_BYTES = 64 * 1024 * 1024  # what is longer is no record but another kind of file


def source_name(source: Path) -> str:
    """Name a source for messages."""
    return "standard input" if source == STANDARD_STREAM else str(source)


@contextmanager
def open_source(source: Path) -> Iterator[ByteSource]:
    """Open a table for reading, unbuffered; ``-`` is standard input."""
    if source == STANDARD_STREAM:
        yield io.FileIO(sys.stdin.fileno(), closefd=False)
        return
    try:
        stream = source.open("rb", buffering=0)
    except OSError as exc:
        raise DataError(f"cannot read {source}: {exc.strerror}; give the path of a table") from exc
    with stream:
        yield stream


class PeekedSource:
    """A source whose first bytes can be inspected before they are read."""

    def __init__(self, source: ByteSource, *, where: str) -> None:
        """Wrap a source at its beginning; ``where`` names it in messages."""
        self._source, self._where = source, where
        self._ahead = b""
        self._given = 0

    @property
    def bytes_read(self) -> int:
        """Bytes read from storage, as the source counts them if it does."""
        stored: int | None = getattr(self._source, "bytes_read", None)
        return self._given if stored is None else stored

    def peek(self, size: int = PEEK_SIZE) -> bytes:
        """Get the first bytes and keep them for ``read``; fewer than ``size`` only at the end."""
        if len(self._ahead) < size:
            self._ahead += read_chunk(self._source, size - len(self._ahead), self._where)
        return self._ahead[:size]

    def read(self, size: int, /) -> bytes | None:
        """Give at most ``size`` bytes, none at the end, None where there are none for now."""
        if self._ahead:
            piece: bytes | None = self._ahead[:size]
            self._ahead = self._ahead[size:]
        else:
            piece = self._source.read(size)
        self._given += len(piece or b"")
        return piece


def read_chunk(stream: ByteSource, size: int, where: str) -> bytes:
    """Read ``size`` bytes, fewer only at the end, in as many reads as a pipe needs.

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
    """Describe a source with neither data nor an end: half of a table must not pass for all."""
    return DataError(f"{where} is non-blocking and has no data yet: give a file or a blocking pipe")
