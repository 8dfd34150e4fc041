"""Write all of what is given, however little of it the system takes at once.

One write to the system may take a part: the last bytes of a disk, the room in a pipe that somebody
made non-blocking. Python's unbuffered streams (``PYTHONUNBUFFERED``, usual in containers) leave
the rest to the caller, who seldom looks. Errors are the system's.
"""

from __future__ import annotations

import io
import sys
from typing import TYPE_CHECKING

from runtime.errors import UsageError

if TYPE_CHECKING:
    from typing import BinaryIO

    from _typeshed import ReadableBuffer


class PatientFile(io.FileIO):
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
        return PatientFile(stream.fileno(), "wb", closefd=False)
    except (AttributeError, io.UnsupportedOperation) as exc:
        if hasattr(stream, "buffer"):
            return stream.buffer
        raise UsageError("standard output takes no bytes here: give the name of a file") from exc
