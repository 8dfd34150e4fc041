"""Reject messages that would take far more memory than their size, before they are parsed.

gRPC's limit on a message's size does not suffice: parsed by protobuf 7.36, an empty tensor takes
42 times its two bytes, an empty string or a number of one byte 15 to 24 times theirs.
Source: protobuf.dev/programming-guides/encoding.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from runtime.errors import OversizeError
from runtime.value import Value

if TYPE_CHECKING:
    from collections.abc import Iterator

_LAST_VARINT: Final = 0x80  # bytes below end a varint
_VARINT_BYTES: Final = 10
_VARINT, _DELIMITED = 0, 2
_FIXED_BYTES: Final = {1: 8, 5: 4, 3: 0, 4: 0}  # by wire type; groups begin and end
_INPUTS, _SHAPE, _CONTENTS, _STRINGS = 5, 3, 5, 8  # field numbers
_FLOAT_BYTES: Final = {6: 4, 7: 8}  # by field number: fp32_contents, fp64_contents

Field = tuple[int, int, int]  # number, begin and end of its content; begin is 0 unless delimited


class MessageLimits(Value, frozen=True):
    """The most fields, numbers and strings of a valid request."""

    fields: int
    numbers: int
    strings: int


def check_message(data: bytes, limits: MessageLimits) -> None:
    """Raise ``OversizeError`` for a ``ModelInferRequest`` beyond the limits."""
    try:
        _Counter(data, limits).count_request()
    except (IndexError, KeyError):
        return  # malformed: the parser reports it


class _Counter:
    """Counts fields, numbers and strings up to the limits."""

    def __init__(self, data: bytes, limits: MessageLimits) -> None:
        self._data, self._limits = data, limits
        self._fields = self._numbers = self._strings = 0

    def count_request(self) -> None:
        for number, begin, end in _read_fields(self._data, 0, len(self._data)):
            self._add(fields=1)
            if number == _INPUTS and begin:
                self._count_tensor(begin, end)

    def _count_tensor(self, start: int, stop: int) -> None:
        for number, begin, end in _read_fields(self._data, start, stop):
            self._add(fields=1)
            if number == _CONTENTS and begin:
                self._count_contents(begin, end)
            elif number == _SHAPE and begin:
                self._add(fields=self._count_varints(begin, end))

    def _count_contents(self, start: int, stop: int) -> None:
        strings = 0
        for number, begin, end in _read_fields(self._data, start, stop):
            if number == _STRINGS:
                strings += 1
                if strings > self._limits.strings:
                    break
            elif not begin:
                self._add(numbers=1)
            elif number in _FLOAT_BYTES:
                self._add(numbers=(end - begin) // _FLOAT_BYTES[number])
            else:
                self._add(numbers=self._count_varints(begin, end))
        self._add(strings=strings)

    def _count_varints(self, begin: int, end: int) -> int:
        packed = np.frombuffer(self._data, np.uint8, end - begin, begin)
        return int(np.count_nonzero(packed < _LAST_VARINT))

    def _add(self, fields: int = 0, numbers: int = 0, strings: int = 0) -> None:
        self._fields += fields
        self._numbers += numbers
        self._strings += strings
        limits = self._limits
        if self._fields > limits.fields:
            raise OversizeError(
                f"the request has more than {limits.fields} tensors and other fields"
            )
        if self._numbers > limits.numbers or self._strings > limits.strings:
            raise OversizeError(
                f"the request's tensors exceed the limit of {limits.numbers} numbers and "
                f"{limits.strings} strings per request; split the request"
            )


def _read_fields(data: bytes, at: int, stop: int) -> Iterator[Field]:
    """Iterate over the fields of the message between ``at`` and ``stop``."""
    while at < stop:
        tag, begin = data[at], 0
        at += 1
        if tag >= _LAST_VARINT:
            tag, at = _read_varint(data, at - 1)
        wire_type = tag & 7
        if wire_type == _DELIMITED:
            size, begin = data[at], at + 1
            if size >= _LAST_VARINT:
                size, begin = _read_varint(data, at)
            at = begin + size
        elif wire_type == _VARINT:
            at = _read_varint(data, at)[1]
        else:
            at += _FIXED_BYTES[wire_type]
        if at > stop:
            raise IndexError
        yield tag >> 3, begin, at


def _read_varint(data: bytes, at: int) -> tuple[int, int]:
    """Return a varint and the offset of its end."""
    value = 0
    for index in range(_VARINT_BYTES):
        byte = data[at + index]
        value |= (byte & (_LAST_VARINT - 1)) << 7 * index
        if byte < _LAST_VARINT:
            return value, at + index + 1
    raise IndexError
