"""Text encodings of a table: which one it has, and its characters.

Most encodings keep ASCII as it is: their bytes are processed in place, untouched, and only names
and reported values are decoded. UTF-16 and UTF-32 do not: they are transcoded to UTF-8 on the way
in and back on the way out. In: names and first bytes. Out: an ``Encoding``. Raises
``UsageError`` for a name that is none of these, ``DataError`` for content that contradicts it.
"""

from __future__ import annotations

import codecs
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from runtime.errors import DataError, UsageError
from runtime.value import Value

if TYPE_CHECKING:
    from collections.abc import Iterator

    from runtime.io.streams import ByteSink, CountedSource

BOM: Final = codecs.BOM_UTF8
# UTF-32 first: its little-endian mark begins with that of UTF-16.
_MARKS: Final = (
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_WIDE: Final = {"utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-le", "utf-32-be"}
# A byte means something else after a shift or escape, so that no record can be found on its own.
_STATEFUL: Final = ("utf-7", "hz", "iso2022", "punycode", "idna", "escape", "undefined")
# Structure and numbers have to mean themselves; a backslash or tilde may be a yen or an overline.
_ASCII: Final = bytes({*b"\t\n\r", *range(0x20, 0x7F)} - {*b"\\~"})
_LONGEST: Final = 4  # bytes of a character, stored in either way
_FIRST_TRAIL_BYTE: Final = 0x30  # of a character of several bytes, in any encoding there is


class Encoding(Value, frozen=True):
    """How characters are stored.

    Attributes:
        name: as Python names it; ``utf-16`` and ``utf-32`` only until the byte order is known.
    """

    name: str = "utf-8"

    @property
    def is_wide(self) -> bool:
        """Whether it is transcoded: a reader then sees UTF-8."""
        return self.name in _WIDE

    def decode(self, data: bytes, errors: str = "strict") -> str:
        """Read bytes as the reader sees them.

        Args:
            data: in UTF-8 where the encoding is wide.
            errors: as ``bytes.decode`` takes them.

        Returns:
            The characters.
        """
        return data.decode("utf-8" if self.is_wide else self.name, errors)

    def encode(self, text: str) -> bytes:
        """Write text as the reader sees it; what was decoded with surrogateescape comes back.

        Args:
            text: the characters.

        Returns:
            Bytes, in UTF-8 where the encoding is wide.

        Raises:
            DataError: when the encoding has no such character.
        """
        try:
            return text.encode("utf-8" if self.is_wide else self.name, "surrogateescape")
        except UnicodeEncodeError as exc:
            raise DataError(
                f"{text!r} cannot be written in {self.name}, the table's encoding, which has no "
                f"{text[exc.start]!r}; convert the table first: iconv -f {self.name} -t utf-8"
            ) from exc

    def splits_characters(self, delimiter: int) -> bool:
        """Tell whether a byte is also a part of longer characters, as ``|`` is in GBK.

        Args:
            delimiter: an ASCII byte.

        Returns:
            Whether text cannot be split at it.
        """
        if self.is_wide or self.name == "utf-8" or delimiter < _FIRST_TRAIL_BYTE:
            return False
        return any(self._is_character(bytes([lead, delimiter])) for lead in range(0x80, 0x100))

    def _is_character(self, data: bytes) -> bool:
        try:
            return len(data.decode(self.name)) == 1
        except UnicodeDecodeError:
            return False


UTF_8: Final = Encoding()


def parse_encoding(name: str) -> Encoding:
    """Read the value of ``--encoding``.

    Args:
        name: of the encoding, in any of the spellings that Python knows.

    Returns:
        The encoding.

    Raises:
        UsageError: when it is unknown, or tables cannot be read in it.
    """
    try:
        known = codecs.lookup(name.strip()).name
    except (LookupError, ValueError) as exc:
        raise UsageError(
            f"no encoding {name!r}: utf-8, utf-16, latin-1, cp1252, gbk, shift_jis and the like "
            "are read"
        ) from exc
    known = "utf-8" if known == "utf-8-sig" else known
    if known in _WIDE:
        return Encoding(known)
    if any(stateful in known for stateful in _STATEFUL) or not _keeps_ascii(known):
        raise UsageError(
            f"tables in {name} cannot be read: its bytes do not stand for the same characters "
            f"everywhere, or not for ASCII; convert them first: iconv -f {name} -t utf-8"
        )
    return Encoding(known)


def detect_encoding(head: bytes, given: Encoding | None, *, where: str) -> Encoding:
    """Tell a table's encoding by its byte order mark, and check a given one against it.

    Args:
        head: its first bytes, decompressed; four are enough.
        given: by ``--encoding``; None means what the mark says, UTF-8 without one.
        where: name of the table for messages.

    Returns:
        The encoding, its byte order known.

    Raises:
        DataError: when the mark contradicts what was given, or is needed and missing.
    """
    marked = next((name for mark, name in _MARKS if head.startswith(mark)), None)
    if given is None:
        return Encoding(marked or "utf-8")
    if given.name in {"utf-16", "utf-32"} and not marked and head:
        raise DataError(
            f"{where} has no byte order mark; give --encoding {given.name}-le "
            f"or --encoding {given.name}-be"
        )
    # Outside Unicode the two bytes of a mark of UTF-16 may be letters.
    contradicted = marked == "utf-8" or (marked is not None and given.is_wide | (given == UTF_8))
    if marked and contradicted and not marked.startswith(given.name):
        raise DataError(
            f"{where} begins with the byte order mark of {marked.upper()}, not of {given.name}; "
            f"leave out --encoding or give {marked}"
        )
    return Encoding(marked) if marked and marked.startswith(given.name) else given


def _keeps_ascii(name: str) -> bool:
    try:
        return _ASCII.decode(name) == _ASCII.decode("ascii")
    except (UnicodeError, LookupError):  # also what is no encoding of text
        return False


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
def transcoded_sink(stream: ByteSink, encoding: Encoding) -> Iterator[TranscodedSink]:
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
