"""Character encodings of tables: parsing, detection by byte order mark, transcoding.

Encodings that keep ASCII are processed in place, and only names and reported values are decoded.
UTF-16 and UTF-32 are transcoded to UTF-8 and back without loss: the byte order mark is kept as a
character, a lone surrogate as the three bytes that UTF-8 would have for it.
"""

from __future__ import annotations

import codecs
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from runtime.errors import DataError, UsageError
from runtime.surfaces import advise, option
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
# The meaning of a byte depends on those before: records cannot be found independently.
_STATEFUL: Final = ("utf-7", "hz", "iso2022", "punycode", "idna", "escape", "undefined")
# Delimiters, quotes and digits must be ASCII; a backslash or tilde may be a yen or an overline.
_ASCII: Final = bytes({*b"\t\n\r", *range(0x20, 0x7F)} - {*b"\\~"})
_FIRST_TRAIL_BYTE: Final = 0x30  # the lowest second byte of a character in any encoding


class Encoding(Value, frozen=True):
    """A character encoding, by Python's name for it.

    ``utf-16`` and ``utf-32`` are used only until the byte order is known.
    """

    name: str = "utf-8"

    @property
    def is_wide(self) -> bool:
        """Whether tables are transcoded to UTF-8."""
        return self.name in _WIDE

    def decode(self, data: bytes, errors: str = "strict") -> str:
        """Decode the bytes of a source, UTF-8 if the encoding is wide."""
        return data.decode("utf-8" if self.is_wide else self.name, errors)

    def encode(self, text: str) -> bytes:
        """Encode text for a sink, UTF-8 if the encoding is wide; undoes surrogateescape."""
        try:
            return text.encode("utf-8" if self.is_wide else self.name, "surrogateescape")
        except UnicodeEncodeError as exc:
            raise DataError(
                f"{text!r} cannot be written in {self.name}, the table's encoding, which has no "
                f"{text[exc.start]!r}; convert the table first: iconv -f {self.name} -t utf-8"
            ) from exc

    def splits_characters(self, delimiter: int) -> bool:
        """Return whether an ASCII byte is also part of multi-byte characters, as ``|`` in GBK."""
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
    """Parse the name of an encoding, in any spelling Python knows."""
    try:
        known = codecs.lookup(name.strip()).name
    except (LookupError, ValueError) as exc:
        raise UsageError(
            f"unknown encoding {name!r}; supported: utf-8, utf-16, latin-1, cp1252, gbk, "
            "shift_jis and similar"
        ) from exc
    known = "utf-8" if known == "utf-8-sig" else known
    if known in _WIDE:
        return Encoding(known)
    if any(stateful in known for stateful in _STATEFUL) or not _keeps_ascii(known):
        raise UsageError(
            f"tables in {name} cannot be read: it is stateful or not compatible with ASCII; "
            f"convert them first: iconv -f {name} -t utf-8"
        )
    return Encoding(known)


def detect_encoding(head: bytes, given: Encoding | None, *, where: str) -> Encoding:
    """Detect an encoding by the byte order mark in ``head`` and check the given one against it."""
    marked = next((name for mark, name in _MARKS if head.startswith(mark)), None)
    if given is None or (marked and marked.startswith(given.name)):
        return Encoding(marked or "utf-8")
    if given.name in {"utf-16", "utf-32"} and not marked and head:
        raise DataError(
            f"{where} has no byte order mark; {advise('encoding', f'{given.name}-le')} or "
            + option("encoding", f"{given.name}-be")
        )
    # In other encodings the two bytes of UTF-16's mark may be letters.
    if marked == "utf-8" or (marked and (given.is_wide or given == UTF_8)):
        raise DataError(
            f"{where} begins with the byte order mark of {marked.upper()}, not of {given.name}; "
            f"leave out {option('encoding')} or give {marked}"
        )
    return given


def _keeps_ascii(name: str) -> bool:
    try:
        return _ASCII.decode(name) == _ASCII.decode("ascii")
    except (UnicodeError, LookupError):  # LookupError: not a text encoding
        return False


class TranscodedSource:
    """Transcodes a source of UTF-16 or UTF-32 to UTF-8; a byte order mark is kept."""

    def __init__(self, source: CountedSource, encoding: Encoding, *, where: str) -> None:
        self._source, self._name, self._where = source, encoding.name.upper(), where
        self._decoder = codecs.getincrementaldecoder(encoding.name)("surrogatepass")
        self._ready = memoryview(b"")

    @property
    def bytes_read(self) -> int:
        """Stored bytes read so far."""
        return self._source.bytes_read

    def read(self, size: int, /) -> bytes | None:
        """Read at most ``size`` bytes, empty at the end; None when none are available yet."""
        data: bytes | None = b"-"
        while data and not self._ready:
            data = self._source.read(size)
            if data is None:
                return None
            self._ready = memoryview(self._transcode(data))
        piece, self._ready = bytes(self._ready[:size]), self._ready[size:]
        return piece

    def _transcode(self, data: bytes) -> bytes:
        """Transcode stored bytes; empty at the end."""
        try:
            return self._decoder.decode(data, final=not data).encode("utf-8", "surrogatepass")
        except UnicodeDecodeError as exc:
            bad = exc.object[exc.start : exc.start + 4].hex(" ")
            raise DataError(
                f"{self._where} is damaged or not {self._name}: the bytes {bad} are not a "
                "character; copy or make it again"
            ) from exc


class _TranscodedSink:
    """Transcodes UTF-8 to UTF-16 or UTF-32."""

    def __init__(self, stream: ByteSink, name: str) -> None:
        self._stream, self._name = stream, name
        self.decoder = codecs.getincrementaldecoder("utf-8")("surrogatepass")

    def write(self, data: bytes | memoryview, /) -> None:
        text = self.decoder.decode(bytes(data))
        self._stream.write(text.encode(self._name, "surrogatepass"))

    def flush(self) -> None:
        self._stream.flush()


@contextmanager
def transcoded_sink(stream: ByteSink, encoding: Encoding) -> Iterator[ByteSink]:
    """Transcode UTF-8 to a wide encoding of known byte order; a mark is written if passed in."""
    sink = _TranscodedSink(stream, encoding.name)
    yield sink
    sink.decoder.decode(b"", final=True)
