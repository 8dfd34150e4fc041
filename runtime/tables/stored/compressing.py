"""Write compressed streams: gzip, bzip2 and zstd.

In: bytes in any pieces. Out: stored bytes, which depend on those bytes alone: no time, no file
name, and nothing of how they came. Errors of the stored stream pass through.

gzip is quick rather than small: level 1 makes 43 % of a table of numbers at 112 MB/s, level 6
makes 36 % at 13 MB/s. zstd makes 38 % at 200 MB/s; pyarrow, which writes it, gives it no checksum.
"""

from __future__ import annotations

import bz2
import zlib
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

from runtime.tables.stored.compression import GZIP_WINDOW

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from runtime.tables.stored.compression import Compression
    from runtime.tables.stored.stored import ByteSink

_GZIP_LEVEL = 1
_PIECE = 1024 * 1024  # bytes handed to a compressor at once, however they were written


class _Compressor(Protocol):
    def compress(self, data: bytes | bytearray | memoryview, /) -> bytes: ...
    def flush(self) -> bytes: ...


class CompressedSink:
    """Bytes to be compressed; what is stored depends on them alone, not on how they come."""

    def __init__(self, compress: Callable[[bytes | bytearray | memoryview], object]) -> None:
        """Gather bytes.

        Args:
            compress: takes the bytes in pieces of one size.
        """
        self._compress = compress
        self._gathered = bytearray()

    def write(self, data: bytes | memoryview) -> int:
        """Take bytes; errors of the stored stream come from here."""
        view = memoryview(data).cast("B")
        start = 0
        while start < len(view):
            end = start + _PIECE - len(self._gathered)
            if not self._gathered and end <= len(view):
                self._compress(view[start:end])  # a whole piece: not copied
            else:
                self._gathered += view[start:end]
                if len(self._gathered) == _PIECE:
                    self.pass_on()
            start = end
        return len(view)

    def flush(self) -> None:
        """Keep what is gathered: only the end makes a stream whole."""

    def pass_on(self) -> None:
        """Hand over what is gathered."""
        gathered, self._gathered = self._gathered, bytearray()
        self._compress(gathered)


@contextmanager
def compressing(stream: ByteSink, compression: Compression) -> Iterator[CompressedSink]:
    """Compress what is written; the stream is ended when the block ends without an error.

    The same bytes are stored whenever the same are written: no time, no file name.

    Args:
        stream: takes the stored bytes; stays open.
        compression: how to compress.

    Yields:
        Where to write.
    """
    if compression == "zstd":
        with _zstd(stream) as sink:
            yield sink
        return
    compressor: _Compressor = (
        zlib.compressobj(_GZIP_LEVEL, wbits=GZIP_WINDOW)
        if compression == "gzip"
        else bz2.BZ2Compressor()
    )
    sink = CompressedSink(lambda data: stream.write(compressor.compress(data)))
    yield sink
    sink.pass_on()
    stream.write(compressor.flush())


class _OpenFile:
    """What pyarrow takes for a file to write; it is silent once it is let go."""

    closed = False

    def __init__(self, stream: ByteSink) -> None:
        self.stream: ByteSink | None = stream

    def write(self, data: bytes) -> int:
        if self.stream:
            self.stream.write(data)
        return len(data)

    def flush(self) -> None:
        """Leave the stream to the one who opened it."""

    def close(self) -> None:
        """Leave the stream to the one who opened it."""


@contextmanager
def _zstd(stream: ByteSink) -> Iterator[CompressedSink]:
    import pyarrow as pa

    raw = _OpenFile(stream)
    compressor = pa.CompressedOutputStream(pa.PythonFile(raw, mode="w"), "zstd")
    sink = CompressedSink(compressor.write)
    try:
        yield sink
        sink.pass_on()
        compressor.close()
    finally:
        raw.stream = None  # what pyarrow still writes when it is let go belongs nowhere
