"""Fields of messages of Protocol Buffers, as bytes.

The wire format is that of protobuf.dev/programming-guides/encoding: a field is its number and the
kind of what follows, then the value. A message is its fields, one after the other. The numbers of
fields stand where messages are made. In: values. Out: bytes. No errors.

A fit writes a few dozen messages of a kind that never changes. The library for them, which makes
classes of all messages that TensorBoard knows, takes as long to load as a short fit takes.
"""

from __future__ import annotations

import struct


def varint(number: int) -> bytes:
    """Write an integer in as few bytes as it needs, seven bits each; a negative one in ten."""
    number &= 0xFFFF_FFFF_FFFF_FFFF
    parts = []
    while number > 0x7F:  # noqa: PLR2004 - seven bits a byte
        parts.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*parts, number])


def field(number: int, content: bytes) -> bytes:
    """Write a field of bytes, or of a message."""
    return varint(number << 3 | 2) + varint(len(content)) + content


def text(number: int, content: str) -> bytes:
    """Write a field of text; an empty one is left out, as the format asks."""
    return field(number, content.encode()) if content else b""


def whole(number: int, value: int) -> bytes:
    """Write a field of an integer, a truth or a choice; 0 is left out."""
    return varint(number << 3) + varint(value) if value else b""


def double(number: int, value: float) -> bytes:
    """Write a field of eight bytes."""
    return varint(number << 3 | 1) + struct.pack("<d", value)


def real(number: int, value: float) -> bytes:
    """Write a field of four bytes."""
    return varint(number << 3 | 5) + struct.pack("<f", value)


def entry(number: int, key: str, value: bytes) -> bytes:
    """Write an entry of a map from texts to messages."""
    return field(number, text(1, key) + field(2, value))
