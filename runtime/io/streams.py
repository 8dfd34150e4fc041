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
_FAULTS = _FULL | {errno.EIO, errno.EROFS, errno.EBADF}


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


@contextmanager
def translate_write_errors(where: object) -> Iterator[None]:
    """Turn the system's errors while writing into one clear message.

    Args:
        where: name of the destination for messages.

    Raises:
        DataError: when the disk is full or fails.
    """
    try:
        yield
    except BrokenPipeError:
        raise  # the reader has gone: the command stops quietly
    except OSError as exc:
        if exc.errno not in _FAULTS:
            raise
        advice = "; make room and run again" if exc.errno in _FULL else ""
        raise DataError(f"cannot write {where}: {exc.strerror}{advice}") from exc


class WriteAllFile(io.FileIO):
    """A file whose ``write`` takes everything; where a pipe is full it waits for the reader."""

    def write(self, data: ReadableBuffer, /) -> int:
        """Write all of ``data``; returns how many bytes that are."""
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
    """Give the standard output as something that takes bytes, all of them.

    Returns:
        The descriptor of ``sys.stdout``; where that is none, as in a test, the bytes below it.

    Raises:
        UsageError: when it takes text alone, as in a notebook.
    """
    stream = sys.stdout
    try:
        stream.flush()
        return WriteAllFile(stream.fileno(), "wb", closefd=False)
    except (AttributeError, io.UnsupportedOperation) as exc:
        if hasattr(stream, "buffer"):
            return stream.buffer
        raise UsageError("standard output takes no bytes here: give the name of a file") from exc
