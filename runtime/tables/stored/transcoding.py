"""UTF-16 and UTF-32 as UTF-8 on the way in, and back on the way out.

In: a source or a sink of stored bytes. Out: one of UTF-8. Nothing is lost between them: the byte
order mark passes as the character that it is, and a lone surrogate as the three bytes that it
would have in UTF-8, which are undecodable there and so bad in a feature's cell.
"""

from __future__ import annotations

import codecs
from contextlib import contextmanager
from typing import TYPE_CHECKING

from runtime.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from runtime.tables.stored.encodings import Encoding
    from runtime.tables.stored.sources import CountedSource
    from runtime.tables.stored.stored import ByteSink

_LONGEST = 4  # bytes of a character, stored in either way


class TranscodedSource:
    """A source of UTF-8, from one of UTF-16 or UTF-32."""

    def __init__(self, source: CountedSource, encoding: Encoding, *, where: str) -> None:
        """Take over a source.

        Args:
            source: at its beginning; a byte order mark is passed on.
            encoding: of it, wide, its byte order known.
            where: name of the table for messages.
        """
        self._source, self._where = source, where
        self._name = encoding.name
        self._held = b""  # stored bytes of an unfinished character
        self._ready = memoryview(b"")

    @property
    def bytes_read(self) -> int:
        """Bytes taken from where they are stored."""
        return self._source.bytes_read

    def read(self, size: int, /) -> bytes | None:
        """Give at most ``size`` bytes, none at the end, None where there are none for now."""
        while not self._ready:
            data = self._source.read(max(size, _LONGEST))
            if data is None:
                return None
            if not data:
                self._ready = memoryview(self._decode(self._held))
                self._held = b""
                break
            data = self._held + data
            end = self._whole(data)
            self._held = data[end:]
            self._ready = memoryview(self._decode(data[:end]))
        piece, self._ready = bytes(self._ready[:size]), self._ready[size:]
        return piece

    def _whole(self, data: bytes) -> int:
        """Where the last whole character ends."""
        if self._name.startswith("utf-32"):
            return len(data) // 4 * 4
        end = len(data) // 2 * 2
        high = data[end - 1] if self._name == "utf-16-le" else data[end - 2]
        return end - 2 if end and 0xD8 <= high < 0xDC else end  # noqa: PLR2004 - of a pair

    def _decode(self, data: bytes) -> bytes:
        try:
            return data.decode(self._name, "surrogatepass").encode("utf-8", "surrogatepass")
        except UnicodeDecodeError as exc:
            bad = data[exc.start : exc.start + _LONGEST].hex(" ")
            raise DataError(
                f"{self._where} is damaged or no {self._name.upper()}: the bytes {bad} are no "
                "character; copy or make it again"
            ) from exc


class TranscodedSink:
    """Takes UTF-8, stores UTF-16 or UTF-32."""

    def __init__(self, stream: ByteSink, name: str) -> None:
        """Write onto a stream.

        Args:
            stream: takes the stored bytes.
            name: of the encoding, as Python names it.
        """
        self._stream, self._name = stream, name
        self.held = b""

    def write(self, data: bytes | memoryview) -> int:
        """Take UTF-8 in any pieces; errors of the stored stream come from here."""
        data = self.held + data if self.held else data
        end = _whole_utf8(data)
        self.held = bytes(data[end:])
        text = codecs.decode(data[:end], "utf-8", "surrogatepass")
        self._stream.write(text.encode(self._name, "surrogatepass"))
        return len(data)

    def flush(self) -> None:
        """Hand everything to the system."""
        self._stream.flush()


@contextmanager
def transcoding(stream: ByteSink, encoding: Encoding) -> Iterator[TranscodedSink]:
    """Store what is written in UTF-16 or UTF-32.

    Args:
        stream: takes the stored bytes; stays open.
        encoding: wide, its byte order known. A byte order mark is stored when one is written.

    Yields:
        Where to write UTF-8.

    Raises:
        RuntimeError: when what was written ends inside a character.
    """
    sink = TranscodedSink(stream, encoding.name)
    yield sink
    if sink.held:
        raise RuntimeError(f"what was written ends inside a character: {sink.held.hex(' ')}")


def _whole_utf8(data: bytes | memoryview) -> int:
    """Where the last whole character ends."""
    for back in range(1, min(_LONGEST, len(data) + 1)):
        byte = data[-back]
        if byte >= 0xC0:  # noqa: PLR2004 - the first byte of several
            length = 2 + (byte >= 0xE0) + (byte >= 0xF0)  # noqa: PLR2004 - as UTF-8 has it
            return len(data) if back >= length else len(data) - back
        if byte < 0x80:  # noqa: PLR2004 - a whole character
            break
    return len(data)
