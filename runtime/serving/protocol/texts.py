"""A tensor's texts, BYTES in the protocol's words, from JSON or from bytes.

In: strings of JSON, or as the binary tensor extension writes them: four bytes of length, little
endian, then the text, one after the other. Out: each text as bytes; null of JSON, a missing cell,
is the empty text, as in a file. Raises ``RequestError`` that names the place.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any, Final

import msgspec

from runtime.errors import RequestError
from runtime.serving.protocol.messages import decode

if TYPE_CHECKING:
    from msgspec import Raw

    from runtime.serving.http.message import Buffer

DATATYPE: Final = "BYTES"
_LENGTH: Final = struct.Struct("<I")
_FLAT: Final = msgspec.json.Decoder(list[str | None])
_NESTED: Final = msgspec.json.Decoder(list[tuple[str | None]])
_BLANKS: Final = b" \t\r\n"


def texts_of_json(data: Raw, rows: int, where: str) -> list[bytes]:
    """Read texts from JSON, flat or one list a row.

    Args:
        data: a JSON list.
        rows: as declared, within the limits.
        where: place of the tensor.

    Returns:
        ``rows`` texts in UTF-8.

    Raises:
        RequestError: when there are more or fewer, or something that is no text.
    """
    text = bytes(data)
    is_nested = text[1:].lstrip(_BLANKS).startswith(b"[")
    found: list[Any] = decode(_NESTED if is_nested else _FLAT, text, f"{where}.data")
    if len(found) != rows:
        raise RequestError(f"{where}.data has {len(found)} texts, its shape says {rows}")
    cells = (row[0] for row in found) if is_nested else found
    return [b"" if cell is None else cell.encode() for cell in cells]


def texts_of_bytes(content: Buffer, span: range, rows: int, where: str) -> list[bytes]:
    """Read texts from bytes.

    Args:
        content: the body.
        span: where the tensor lies in it.
        rows: as declared, within the limits.
        where: place of the tensor.

    Returns:
        ``rows`` texts as they were sent.

    Raises:
        RequestError: when a length leads out of the tensor, or the tensor holds more or fewer.
    """
    at, end, texts = span.start, span.stop, []
    for row in range(rows):
        begin = at + _LENGTH.size
        at = begin + _LENGTH.unpack_from(content, at)[0] if begin <= end else end + 1
        if at > end:
            raise RequestError(f"{where}: its {len(span)} bytes end within text {row} of {rows}")
        texts.append(bytes(content[begin:at]))
    if at < end:
        raise RequestError(f"{where}: {end - at} bytes follow its {rows} texts; leave them out")
    return texts


def as_bytes(texts: list[bytes]) -> bytes:
    """Write texts as the binary tensor extension does."""
    return b"".join([_LENGTH.pack(len(text)) + text for text in texts])
