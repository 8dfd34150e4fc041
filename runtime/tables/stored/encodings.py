"""Text encodings of a table: which one it has, and its characters.

Most encodings keep ASCII as it is: their bytes are processed in place, untouched, and only names
and reported values are decoded. UTF-16 and UTF-32 do not: ``transcoding.py`` turns them into UTF-8
on the way in and back on the way out. In: names and first bytes. Out: an ``Encoding``. Raises
``UsageError`` for a name that is none of these, ``DataError`` for content that contradicts it.
"""

from __future__ import annotations

import codecs
from typing import Final

from runtime.errors import DataError, UsageError
from runtime.value import Value

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


def recognise(head: bytes, given: Encoding | None, *, where: str) -> Encoding:
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
