"""Store a table's bytes with what goes around them: wide encodings and compression.

In: the table, in UTF-8 where its encoding is wide. Out: stored bytes. The counterpart of
``opened.py``; errors of the stored stream pass through.
"""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator

    from runtime.tables.formats import Format
    from runtime.tables.stored.encodings import Encoding


class ByteSink(Protocol):
    """Where bytes go: a file, or what stores them in another way."""

    def write(self, data: bytes | memoryview, /) -> object:
        """Take all of the bytes."""

    def flush(self) -> object:
        """Hand on what can be handed on before the end."""


@contextmanager
def storing(stream: ByteSink, stored: Format, encoding: Encoding) -> Iterator[ByteSink]:
    """Store a table; it is complete when the block ends without an error.

    Args:
        stream: takes the stored bytes; stays open.
        stored: the format; its compression counts, its kind is that of what is written.
        encoding: of the stored text, its byte order known. A byte order mark is stored when one
            is written.

    Yields:
        Where to write the table.
    """
    with ExitStack() as stack:
        if stored.compression:
            from runtime.tables.stored.compressing import compressing

            stream = stack.enter_context(compressing(stream, stored.compression))
        if encoding.is_wide:
            from runtime.tables.stored.transcoding import transcoding

            stream = stack.enter_context(transcoding(stream, encoding))
        yield stream
