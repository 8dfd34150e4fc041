"""Pixels as a PNG file (W3C, Portable Network Graphics, third edition), without a library.

In: an array. Out: bytes. No errors.
"""

from __future__ import annotations

import struct
import zlib
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_INDEXED = struct.pack(">BBBBB", 8, 3, 0, 0, 0)  # 8 bits a pixel, its place in the palette
_UP = 2  # the filter: what is written of a line is what differs from the one above
_FAST = 1  # flat colours pack well at any level


def write_png(pixels: npt.NDArray[np.uint8], palette: npt.NDArray[np.uint8]) -> bytes:
    """Encode a picture of few colours.

    Args:
        pixels: ``(height, width)``, places in the palette; the first row is the upper one.
        palette: ``(colours, 3)``, red, green and blue; at most 256.

    Returns:
        The file.
    """
    height, width = pixels.shape
    lines = np.empty((height, 1 + width), np.uint8)
    lines[:, 0] = _UP
    lines[0, 1:] = pixels[0]
    np.subtract(pixels[1:], pixels[:-1], out=lines[1:, 1:])
    return (
        _SIGNATURE
        + _chunk(b"IHDR", struct.pack(">II", width, height) + _INDEXED)
        + _chunk(b"PLTE", palette.tobytes())
        + _chunk(b"IDAT", zlib.compress(lines.tobytes(), _FAST))
        + _chunk(b"IEND", b"")
    )


def _chunk(kind: bytes, content: bytes) -> bytes:
    checksum = zlib.crc32(kind + content)
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", checksum)
