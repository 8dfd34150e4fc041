"""Thrift's compact protocol, in which Parquet files describe themselves; see its specification.

https://github.com/apache/thrift/blob/master/doc/specs/thrift-compact-protocol.md
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

# Types of fields and elements; maps do not occur in Parquet's metadata.
_TRUE, _FALSE, _BYTE, _I16, _I32, _I64, _DOUBLE, _BINARY, _LIST, _SET, _STRUCT = (
    *range(1, 11),
    12,
)
_INTEGERS: Final = {_I16, _I32, _I64}
_LONG: Final = 15  # of lists: the length follows

# A structure: type and value by number; those of lists are pairs of the elements' type and values.
Struct = dict[int, tuple[int, Any]]


def decode(data: bytes) -> Struct:
    """Decode a structure; raises ``ValueError`` or ``IndexError`` where it is none."""
    return _Decoder(data).struct()


def encode(value: Struct) -> bytes:
    """Encode a structure."""
    out = bytearray()
    _write_struct(out, value)
    return bytes(out)


class _Decoder:
    def __init__(self, data: bytes) -> None:
        self._data, self._at = data, 0

    def struct(self) -> Struct:
        found: Struct = {}
        number = 0
        while head := self._byte():
            delta, kind = head >> 4, head & 15
            number = number + delta if delta else self._integer()
            found[number] = kind, kind == _TRUE if kind <= _FALSE else self._value(kind)
        return found

    def _value(self, kind: int) -> Any:  # noqa: ANN401 - as the structure says
        if kind in _INTEGERS:
            return self._integer()
        if kind == _BINARY:
            return self._take(self._varint())
        if kind == _STRUCT:
            return self.struct()
        if kind in {_LIST, _SET}:
            head = self._byte()
            size = head >> 4 if head >> 4 < _LONG else self._varint()
            return head & 15, [self._value(head & 15) for _ in range(size)]
        if kind == _DOUBLE:
            return self._take(8)
        if kind in {_TRUE, _FALSE, _BYTE}:
            return self._byte()
        raise ValueError(f"unknown type {kind}")

    def _byte(self) -> int:
        self._at += 1
        return self._data[self._at - 1]

    def _take(self, size: int) -> bytes:
        self._at += size
        return self._data[self._at - size : self._at]

    def _varint(self) -> int:
        value = shift = 0
        while True:
            byte = self._byte()
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:  # noqa: PLR2004 - the last one
                return value

    def _integer(self) -> int:
        value = self._varint()
        return (value >> 1) ^ -(value & 1)


def _write_struct(out: bytearray, value: Struct) -> None:
    before = 0
    for number, (kind, content) in value.items():
        if 0 < number - before <= _LONG:
            out.append((number - before) << 4 | kind)
        else:
            out.append(kind)
            _write_integer(out, number)
        before = number
        if kind > _FALSE:
            _write_value(out, kind, content)
    out.append(0)


def _write_value(out: bytearray, kind: int, value: Any) -> None:  # noqa: ANN401 - as above
    if kind in _INTEGERS:
        _write_integer(out, value)
    elif kind == _BINARY:
        _write_varint(out, len(value))
        out += value
    elif kind == _STRUCT:
        _write_struct(out, value)
    elif kind in {_LIST, _SET}:
        _write_list(out, *value)
    elif kind == _DOUBLE:
        out += value
    else:
        out += struct.pack("B", value)


def _write_list(out: bytearray, kind: int, values: Sequence[Any]) -> None:
    if len(values) < _LONG:
        out.append(len(values) << 4 | kind)
    else:
        out.append(_LONG << 4 | kind)
        _write_varint(out, len(values))
    for each in values:
        _write_value(out, kind, each)


def _write_varint(out: bytearray, value: int) -> None:
    while value > 127:  # noqa: PLR2004 - seven bits a byte
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)


def _write_integer(out: bytearray, value: int) -> None:
    _write_varint(out, value << 1 if value >= 0 else (-value << 1) - 1)
