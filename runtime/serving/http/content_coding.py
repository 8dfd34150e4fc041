"""Decode compressed request bodies: gzip and deflate (RFC 9110, 8.4.1), up to the body limit."""

from __future__ import annotations

import zlib
from typing import Final

from runtime.errors import OversizeError, RequestError
from runtime.surfaces import server_option

CODINGS: Final = "gzip, deflate"
_IDENTITY: Final = (b"", b"identity")
_GZIP: Final = (b"gzip", b"x-gzip")
_DEFLATE: Final = b"deflate"
_GZIP_WBITS: Final = 16 + zlib.MAX_WBITS
_ZLIB_METHOD: Final = 8  # in the low bits of a zlib stream's first byte (RFC 1950, 2.2)


def is_encoded(coding: bytes) -> bool:
    """Return whether a Content-Encoding other than identity is declared."""
    return coding.strip().lower() not in _IDENTITY


def is_supported(coding: bytes) -> bool:
    """Return whether ``decode_body`` reads a coding."""
    return coding.strip().lower() in (*_GZIP, _DEFLATE)


def decode_body(body: bytes | bytearray, coding: bytes, max_bytes: int) -> bytes:
    """Decompress a body.

    Args:
        body: as received.
        coding: value of Content-Encoding, one that is supported.
        max_bytes: of the decompressed body; no more is ever allocated.

    Returns:
        The decompressed body.

    Raises:
        OversizeError: when the body is larger than ``max_bytes``.
        RequestError: when the body is damaged, ends early, or other bytes follow.
    """
    if not body:
        return b""
    name = coding.strip().lower()
    try:
        return _decompress(body, _wbits(name, body), max_bytes)
    except zlib.error as exc:
        raise RequestError(
            f"the body is not {name.decode()}, as Content-Encoding says: {exc}"
        ) from exc


def _wbits(name: bytes, body: bytes | bytearray) -> int:
    """Return zlib's format; as deflate, some clients send it without the header of zlib."""
    if name in _GZIP:
        return _GZIP_WBITS
    is_zlib = body[0] & 0x0F == _ZLIB_METHOD and int.from_bytes(body[:2], "big") % 31 == 0
    return zlib.MAX_WBITS if is_zlib else -zlib.MAX_WBITS


def _decompress(body: bytes | bytearray, wbits: int, max_bytes: int) -> bytes:
    pieces, size, rest = [], 0, bytes(body)
    while True:
        stream = zlib.decompressobj(wbits)
        pieces.append(stream.decompress(rest, max_bytes - size + 1))
        size += len(pieces[-1])
        if size > max_bytes:
            raise OversizeError(
                f"the decompressed body is larger than {max_bytes} bytes; send it in parts, or "
                f"raise {server_option('max_body')}"
            )
        if not stream.eof:
            raise zlib.error("it ends early")
        rest = stream.unused_data
        if not rest:
            return pieces[0] if len(pieces) == 1 else b"".join(pieces)
        if wbits != _GZIP_WBITS:  # only gzip has several members
            raise zlib.error(f"{len(rest)} further bytes follow")
