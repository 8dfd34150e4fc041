"""Read the fields of Protocol Buffers messages without parsing them into objects.

Source: protobuf.dev/programming-guides/encoding.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator

    Field = tuple[int, int, int, int]  # number, wire type, begin and end of its value

VARINT: Final = 0
DELIMITED: Final = 2
_FIXED_BYTES: Final = {1: 8, 5: 4, 3: 0, 4: 0}  # by wire type; groups begin and end
_LAST_VARINT: Final = 0x80  # bytes below end a varint
_MAX_VARINT_BYTES: Final = 10


def read_fields(data: bytes | memoryview, start: int, stop: int) -> Iterator[Field]:
    """Read the fields of the message between two offsets; ``ValueError`` when it is malformed."""
    at = start
    try:
        while at < stop:
            key, begin = data[at], at + 1
            if key >= _LAST_VARINT:
                key, begin = read_varint(data, at)
            wire_type = key & 7
            if wire_type == DELIMITED:
                size, at = data[begin], begin
                begin = at + 1
                if size >= _LAST_VARINT:
                    size, begin = read_varint(data, at)
                at = begin + size
            elif wire_type == VARINT:
                at = read_varint(data, begin)[1]
            else:
                at = begin + _FIXED_BYTES[wire_type]
            if at > stop:
                raise ValueError(f"a field ends {at - stop} bytes after its message")
            yield key >> 3, wire_type, begin, at
    except (IndexError, KeyError) as exc:
        raise ValueError(f"the field at byte {at} is malformed") from exc


def read_varint(data: bytes | memoryview, start: int) -> tuple[int, int]:
    """Decode a varint; return its value and the offset of its end."""
    value = 0
    for index in range(_MAX_VARINT_BYTES):
        byte = data[start + index]
        value |= (byte & 0x7F) << 7 * index
        if byte < _LAST_VARINT:
            return value, start + index + 1
    raise ValueError(f"a varint of more than {_MAX_VARINT_BYTES} bytes")


def count_varints(data: bytes, start: int, stop: int) -> int:
    """Count the varints of a packed field between two offsets."""
    packed = np.frombuffer(data, np.uint8, stop - start, start)
    return int(np.count_nonzero(packed < _LAST_VARINT))
