"""Sinks of table bytes: files that appear together, standard output, encoded streams."""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

from runtime.io.atomic import atomic_files
from runtime.io.paths import STANDARD_STREAM
from runtime.io.streams import standard_output, translate_write_errors
from runtime.value import Value

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from runtime.io.charsets import Encoding
    from runtime.io.compression import Compression
    from runtime.io.paths import Location
    from runtime.io.streams import ByteSink


class Sink(Value, frozen=True):
    """An output and its name in messages."""

    name: str
    stream: ByteSink

    def write(self, data: bytes | memoryview) -> None:
        """Write; a full disk is a ``DataError`` that names this output."""
        with translate_write_errors(self.name):
            self.stream.write(data)

    def flush(self) -> None:
        """Flush to the system; errors as in ``write``."""
        with translate_write_errors(self.name):
            self.stream.flush()


def describe_failed_output(out: Location) -> str:
    """Return what is left of an output when scoring fails, for messages."""
    if out == STANDARD_STREAM:
        return "the output is incomplete"
    return f"{out} was not written"


@contextmanager
def open_sinks(*, replaces: bool = True) -> Iterator[Callable[[Location], Sink]]:
    """Open outputs, ``-`` for standard output, that appear together when the block succeeds.

    The output opened first appears last. See ``atomic_files``.
    """
    with atomic_files(replaces=replaces) as open_file:

        def open_sink(path: Location) -> Sink:
            if path == STANDARD_STREAM:
                return Sink("standard output", standard_output())
            return Sink(str(path), open_file(path))

        yield open_sink


@contextmanager
def encoded_sink(
    stream: ByteSink, compression: Compression | None, encoding: Encoding
) -> Iterator[ByteSink]:
    """Compress and transcode what is written; the stream is complete when the block succeeds."""
    with ExitStack() as stack:
        if compression:
            from runtime.io.compression import compressed_sink

            stream = stack.enter_context(compressed_sink(stream, compression))
        if encoding.is_wide:
            from runtime.io.charsets import transcoded_sink

            stream = stack.enter_context(transcoded_sink(stream, encoding))
        yield stream
