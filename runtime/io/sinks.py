"""Where a table's bytes go: files that appear together, standard output, encoded streams."""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

from runtime.io.atomic import atomic_files
from runtime.io.paths import STANDARD_STREAM
from runtime.io.streams import standard_output, translate_write_errors
from runtime.value import Value

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from runtime.io.charsets import Encoding
    from runtime.io.compression import Compression
    from runtime.io.streams import ByteSink


class Sink(Value, frozen=True):
    """An output and its name: with two of them open, it must be clear which one fails.

    Attributes:
        name: for messages.
        stream: what is written to.
    """

    name: str
    stream: ByteSink

    def write(self, data: bytes | memoryview) -> None:
        """Write; a full disk is a ``DataError`` that names this output."""
        with translate_write_errors(self.name):
            self.stream.write(data)

    def flush(self) -> None:
        """Hand everything to the system; errors as in ``write``."""
        with translate_write_errors(self.name):
            self.stream.flush()


class DetachableSink:
    """A stream that can be shut: pyarrow's writers end their files when they are forgotten."""

    closed = False

    def __init__(self, stream: ByteSink) -> None:
        self._stream: ByteSink | None = stream

    def write(self, data: bytes | memoryview) -> None:
        """Pass bytes on while it is open."""
        if self._stream:
            self._stream.write(data)

    def flush(self) -> None:
        """Pass on what can be."""
        if self._stream:
            self._stream.flush()

    def detach(self) -> None:
        """Drop what comes from now on."""
        self._stream = None


def describe_failed_output(out: Path) -> str:
    """Say what becomes of an output when scoring fails."""
    if out == STANDARD_STREAM:
        return "the output is incomplete"
    return f"{out} was not written"


@contextmanager
def open_sinks() -> Iterator[Callable[[Path], Sink]]:
    """Open outputs that appear together when the block ends without an error.

    Yields:
        What opens one more; ``-`` is standard output. The output opened first appears last.
    """
    with atomic_files() as open_file:

        def open_sink(path: Path) -> Sink:
            if path == STANDARD_STREAM:
                return Sink("standard output", standard_output())
            return Sink(str(path), open_file(path))

        yield open_sink


@contextmanager
def encoded_sink(
    stream: ByteSink, compression: Compression | None, encoding: Encoding
) -> Iterator[ByteSink]:
    """Store a table; it is complete when the block ends without an error.

    Args:
        stream: takes the stored bytes; stays open.
        compression: of the stored bytes, if any.
        encoding: of the stored text, its byte order known. A byte order mark is stored when one
            is written.

    Yields:
        Where to write the table.
    """
    with ExitStack() as stack:
        if compression:
            from runtime.io.compression import compressed_sink

            stream = stack.enter_context(compressed_sink(stream, compression))
        if encoding.is_wide:
            from runtime.io.charsets import transcoded_sink

            stream = stack.enter_context(transcoded_sink(stream, encoding))
        yield stream
