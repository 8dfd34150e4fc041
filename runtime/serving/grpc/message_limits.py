"""Reject messages that would take far more memory than their size, before they are parsed.

gRPC's limit on a message's size does not suffice: parsed by protobuf 7.36, an empty tensor takes
42 times its two bytes, an empty string or a number of one byte 15 to 24 times theirs.
Source: protobuf.dev/programming-guides/encoding.
"""

from __future__ import annotations

from typing import Final

from runtime.errors import OversizeError
from runtime.io.protobuf import DELIMITED, count_varints, read_fields
from runtime.value import Value

_INPUTS, _SHAPE, _CONTENTS, _STRINGS = 5, 3, 5, 8  # field numbers
_FLOAT_BYTES: Final = {6: 4, 7: 8}  # by field number: fp32_contents, fp64_contents


class MessageLimits(Value, frozen=True):
    """The most fields, numbers and strings of a valid request."""

    fields: int
    numbers: int
    strings: int


def check_message(data: bytes, limits: MessageLimits) -> None:
    """Raise ``OversizeError`` for a ``ModelInferRequest`` beyond the limits."""
    try:
        _Counter(data, limits).count_request()
    except ValueError:
        return  # malformed: the parser reports it


class _Counter:
    """Counts fields, numbers and strings up to the limits."""

    def __init__(self, data: bytes, limits: MessageLimits) -> None:
        self._data, self._limits = data, limits
        self._fields = self._numbers = self._strings = 0

    def count_request(self) -> None:
        for number, wire_type, begin, end in read_fields(self._data, 0, len(self._data)):
            self._add(fields=1)
            if number == _INPUTS and wire_type == DELIMITED:
                self._count_tensor(begin, end)

    def _count_tensor(self, start: int, stop: int) -> None:
        for number, wire_type, begin, end in read_fields(self._data, start, stop):
            self._add(fields=1)
            if number == _CONTENTS and wire_type == DELIMITED:
                self._count_contents(begin, end)
            elif number == _SHAPE and wire_type == DELIMITED:
                self._add(fields=count_varints(self._data, begin, end))

    def _count_contents(self, start: int, stop: int) -> None:
        strings = 0
        for number, wire_type, begin, end in read_fields(self._data, start, stop):
            if number == _STRINGS:
                strings += 1
                if strings > self._limits.strings:
                    break
            elif wire_type != DELIMITED:
                self._add(numbers=1)
            elif number in _FLOAT_BYTES:
                self._add(numbers=(end - begin) // _FLOAT_BYTES[number])
            else:
                self._add(numbers=count_varints(self._data, begin, end))
        self._add(strings=strings)

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
