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
_TRUECOLOUR = struct.pack(">BBBBB", 8, 2, 0, 0, 0)  # 8 bits a sample, RGB, no interlacing


def write_png(pixels: npt.NDArray[np.uint8]) -> bytes:
    """Encode a picture.

    Args:
        pixels: ``(height, width, 3)``, red, green and blue; the first row is the upper one.

    Returns:
        The file.
    """
    height, width, _ = pixels.shape
    lines = pixels.reshape(height, width * 3)
    unfiltered = np.concatenate((np.zeros((height, 1), np.uint8), lines), axis=1)
    return (
        _SIGNATURE
        + _chunk(b"IHDR", struct.pack(">II", width, height) + _TRUECOLOUR)
        + _chunk(b"IDAT", zlib.compress(unfiltered.tobytes()))
        + _chunk(b"IEND", b"")
    )


def _chunk(kind: bytes, content: bytes) -> bytes:
    checksum = zlib.crc32(kind + content)
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", checksum)
