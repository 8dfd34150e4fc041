"""A stream for pyarrow's writers that can be shut before they end their files."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from runtime.tables.stored.stored import ByteSink


class Tap:
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

    def shut(self) -> None:
        """Drop what comes from now on."""
        self._stream = None
