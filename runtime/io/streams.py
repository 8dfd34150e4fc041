"""Byte streams: protocols of sources and sinks, standard output, translation of write errors."""

from __future__ import annotations

import errno
import io
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

from runtime.errors import DataError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import BinaryIO

    from _typeshed import ReadableBuffer

_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_DISK_ERRORS = _FULL | {errno.EIO, errno.EROFS, errno.EBADF}


class ByteSource(Protocol):
    """A source of bytes: an unbuffered file or pipe, or a decoder of one."""

    def read(self, size: int, /) -> bytes | None:
        """Read at most ``size`` bytes, empty at the end; None when none are available yet."""


class CountedSource(ByteSource, Protocol):
    """A ``ByteSource`` that counts the bytes read."""

    @property
    def bytes_read(self) -> int:
        """Bytes read from storage, before decompression."""


class ByteSink(Protocol):
    """A sink of bytes: a file, or an encoder that writes to one."""

    def write(self, data: bytes | memoryview, /) -> object:
        """Write all of the bytes."""

    def flush(self) -> object:
        """Write buffered bytes, as far as the encoding allows."""


class DetachableSink:
    """A file for pyarrow's writers, which write a footer even after an error.

    Once detached it drops what is written.
    """

    closed = False

    def __init__(self, stream: ByteSink) -> None:
        self._stream: ByteSink | None = stream

    def write(self, data: bytes | memoryview, /) -> None:
        """Write to the stream unless detached."""
        if self._stream:
            self._stream.write(data)

    def flush(self) -> None:
        """Flush the stream unless detached."""
        if self._stream:
            self._stream.flush()

    def close(self) -> None:
        """Leave the stream open."""

    def detach(self) -> None:
        """Drop further writes."""
        self._stream = None


@contextmanager
def translate_write_errors(where: object) -> Iterator[None]:
    """Raise ``DataError`` naming the destination for a full or failing disk."""
    try:
        yield
    except BrokenPipeError:
        raise  # the reader has closed the pipe: the command exits silently
    except OSError as exc:
        if exc.errno not in _DISK_ERRORS:
            raise
        advice = "; make room and run again" if exc.errno in _FULL else ""
        raise DataError(f"cannot write {where}: {exc.strerror}{advice}") from exc


class WriteAllFile(io.FileIO):
    """An unbuffered file whose ``write`` writes everything, waiting where a pipe is full."""

    def write(self, data: ReadableBuffer, /) -> int:
        """Write all of ``data`` and return its size."""
        view = memoryview(data).cast("B")
        written = 0
        while written < len(view):
            count: int | None = super().write(view[written:])
            if count is None:  # non-blocking, and full
                self._wait()
            else:
                written += count
        return written

    def _wait(self) -> None:
        import selectors

        with selectors.DefaultSelector() as selector:
            selector.register(self.fileno(), selectors.EVENT_WRITE)
            selector.select()


def standard_output() -> io.FileIO | BinaryIO:
    """Open standard output for bytes, without a buffer where it has a descriptor."""
    stream = sys.stdout
    try:
        stream.flush()
        return WriteAllFile(stream.fileno(), "wb", closefd=False)
    except (AttributeError, io.UnsupportedOperation) as exc:
        if hasattr(stream, "buffer"):
            return stream.buffer
        raise UsageError(
            "standard output does not accept bytes here: give the name of a file"
        ) from exc
