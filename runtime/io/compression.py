"""Compressed streams, gzip, bzip2 and zstd, read and written in constant memory.

gzip and bzip2 members are decoded with ``zlib`` and ``bz2``: ``bz2.BZ2File`` ignores trailing data,
and pyarrow rejects gzip's padding and empty bzip2 members. zstd is pyarrow's (1,300 MB/s).
"""

from __future__ import annotations

import bz2
import zlib
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Literal

from runtime.errors import DataError
from runtime.io.sources import nonblocking_error
from runtime.io.streams import DetachableSink

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from runtime.io.streams import ByteSink, CountedSource

Compression = Literal["gzip", "zstd", "bzip2"]
_GZIP_FORMAT = 31  # zlib's wbits: a window of 2^15 bytes inside gzip's header and checksum
_GZIP_LEVEL = 1  # a table of numbers shrinks to 43 % at 112 MB/s; level 6: 36 % at 13 MB/s
_MAGIC: dict[Compression, bytes] = {"gzip": b"\x1f\x8b", "bzip2": b"BZh"}
_READ_SIZE = 64 * 1024  # stored bytes a read


def decompressed_source(
    source: CountedSource, compression: Compression, *, where: str
) -> CountedSource:
    """Decode a compressed stream; ``where`` names the table in messages."""
    raw = _StoredBytes(source, where)
    return _ZstdSource(raw) if compression == "zstd" else _MemberSource(raw, compression)


class _StoredBytes:
    """The compressed bytes, as a file for ``pyarrow.PythonFile``."""

    closed = False

    def __init__(self, source: CountedSource, where: str) -> None:
        self._source, self.where = source, where

    @property
    def bytes_read(self) -> int:
        return self._source.bytes_read

    def read(self, size: int, /) -> bytes:
        data = self._source.read(size)
        if data is None:
            raise nonblocking_error(self.where)
        return data

    def close(self) -> None:
        """Leave the source open."""


class _MemberSource:
    """The bytes of concatenated gzip or bzip2 members, as of ``cat a.gz b.gz``."""

    def __init__(self, stored: _StoredBytes, name: Compression) -> None:
        self._stored, self._name = stored, name
        self._decoder: Any = None  # of one member; bz2 and zlib have no common type
        self._pending = b""  # stored bytes to be decoded next

    @property
    def bytes_read(self) -> int:
        """Stored bytes read so far."""
        return self._stored.bytes_read

    def read(self, size: int, /) -> bytes:
        """Read at most ``size`` bytes, empty at the end."""
        while True:
            if (self._decoder is None or self._decoder.eof) and not self._begin_member():
                return b""
            try:
                data: bytes = self._decoder.decompress(self._pending, size)
            except (zlib.error, OSError) as exc:
                raise _damaged(self._stored.where, self._name, str(exc)) from exc
            self._pending = getattr(self._decoder, "unconsumed_tail", b"")
            if data:
                return data
            if not self._decoder.eof:
                self._pending = self._stored.read(_READ_SIZE)
                if not self._pending:
                    raise _truncated(self._stored.where, self._name)

    def _begin_member(self) -> bool:
        """Start the next member; return False at the end of the stream."""
        follows, magic = self._decoder is not None, _MAGIC[self._name]
        padding = b"\0" if follows and self._name == "gzip" else b""  # as on tapes
        data: bytes = self._decoder.unused_data if follows else b""
        while not (data := data.lstrip(padding)):
            data = self._stored.read(_READ_SIZE)
            if not data:
                return False
        if follows and data[: len(magic)] != magic[: len(data)]:
            raise DataError(
                f"{self._stored.where}: data that is not {self._name} follows the {self._name} "
                "data; the file may be damaged: make it again"
            )
        self._pending = data
        self._decoder = (
            zlib.decompressobj(_GZIP_FORMAT) if self._name == "gzip" else bz2.BZ2Decompressor()
        )
        return True


class _ZstdSource:
    """The bytes of a zstd stream."""

    def __init__(self, stored: _StoredBytes) -> None:
        import pyarrow as pa

        self._stored = stored
        self._stream = pa.CompressedInputStream(pa.PythonFile(stored, mode="r"), "zstd")

    @property
    def bytes_read(self) -> int:
        """Stored bytes read so far."""
        return self._stored.bytes_read

    def read(self, size: int, /) -> bytes:
        """Read at most ``size`` bytes, empty at the end."""
        try:
            data: bytes = self._stream.read(size)
        except OSError as exc:
            if exc.errno is not None:  # of the disk, not of pyarrow
                raise
            if "Truncated" in str(exc):
                raise _truncated(self._stored.where, "zstd") from exc
            raise _damaged(self._stored.where, "zstd", str(exc)) from exc
        return data


@contextmanager
def compressed_sink(stream: ByteSink, compression: Compression) -> Iterator[ByteSink]:
    """Compress what is written to ``stream``; the end marker is written when the block succeeds.

    The result depends on the bytes alone: not on time, file name or the size of writes.
    """
    if compression == "zstd":
        with _zstd_sink(stream) as sink:
            yield sink
        return
    compressor = (
        zlib.compressobj(_GZIP_LEVEL, wbits=_GZIP_FORMAT)
        if compression == "gzip"
        else bz2.BZ2Compressor()
    )
    yield _CompressedSink(lambda data: stream.write(compressor.compress(data)))
    stream.write(compressor.flush())


class _CompressedSink:
    """Writes through a compressor."""

    def __init__(self, write: Callable[[bytes | memoryview], object]) -> None:
        self._write = write

    def write(self, data: bytes | memoryview, /) -> None:
        self._write(data)

    def flush(self) -> None:
        """Keep what is buffered: a flush would change the stored bytes."""


@contextmanager
def _zstd_sink(stream: ByteSink) -> Iterator[ByteSink]:
    """Compress with pyarrow, which writes no content checksum."""
    import pyarrow as pa

    raw = DetachableSink(stream)
    compressor = pa.CompressedOutputStream(pa.PythonFile(raw, mode="w"), "zstd")
    try:
        yield _CompressedSink(compressor.write)
        compressor.close()
    finally:
        raw.detach()


def _truncated(where: str, name: Compression) -> DataError:
    return DataError(
        f"{where} ends in the middle of its {name} data: the file is truncated; copy or make it "
        "again"
    )


def _damaged(where: str, name: Compression, detail: str) -> DataError:
    return DataError(f"{where}: its {name} data is damaged ({detail}); copy or make it again")
