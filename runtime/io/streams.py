"""Byte streams: what a reader and a writer must offer, standard output, errors of writing."""

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
    """Where bytes come from: an unbuffered file or pipe, or what decodes one."""

    def read(self, size: int, /) -> bytes | None:
        """Give at most ``size`` bytes, none at the end, None where there are none for now."""


class CountedSource(ByteSource, Protocol):
    """A ``ByteSource`` that knows how far it has come."""

    @property
    def bytes_read(self) -> int:
        """Bytes read from storage, in the unit of the file's size."""


class ByteSink(Protocol):
    """Where bytes go: a file, or what encodes them on their way to one."""

    def write(self, data: bytes | memoryview, /) -> object:
        """Write all of the bytes."""

    def flush(self) -> object:
        """Pass on what can be passed on before the end."""


class DetachableSink:
    """A file for pyarrow's writers, which end their files even when they are given up.

    Once detached it drops what is written.
    """

    closed = False

    def __init__(self, stream: ByteSink) -> None:
        self._stream: ByteSink | None = stream

    def write(self, data: bytes | memoryview, /) -> None:
        """Pass bytes on unless detached."""
        if self._stream:
            self._stream.write(data)

    def flush(self) -> None:
        """Flush the stream unless detached."""
        if self._stream:
            self._stream.flush()

    def close(self) -> None:
        """Leave the stream open."""

    def detach(self) -> None:
        """Drop what is written from now on."""
        self._stream = None


@contextmanager
def translate_write_errors(where: object) -> Iterator[None]:
    """Raise ``DataError`` naming the destination for a full or failing disk."""
    try:
        yield
    except BrokenPipeError:
        raise  # the reader has closed the pipe: the command ends quietly
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
            taken: int | None = super().write(view[written:])
            if taken is None:  # non-blocking, and full
                self._wait()
            else:
                written += taken
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
        raise UsageError("standard output takes no bytes here: give the name of a file") from exc
