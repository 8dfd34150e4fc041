"""What a message would become in memory, told by its bytes before it is read.

Two bytes of a field become a hundred when it is read, a byte of a packed number eight; a message
within its limit of size could so take a hundred times that. In: a message's bytes. Out: nothing,
or ``OversizeError``. What is broken is passed over: the parser says so.
Source: protobuf.dev/programming-guides/encoding.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from runtime.errors import OversizeError
from runtime.value import Value

if TYPE_CHECKING:
    from collections.abc import Iterator

_LAST_VARINT: Final = 0x80  # bytes below end a number
_VARINT_BYTES: Final = 10  # at most
_VARINT, _DELIMITED = 0, 2
_FIXED: Final = {1: 8, 5: 4, 3: 0, 4: 0}  # bytes of other wire types; groups begin and end
_FLOATS: Final = {6: 4, 7: 8}  # bytes of a number, by field of a tensor's contents
_TEXTS: Final = 8
_TEXT_TAG: Final = _TEXTS << 3 | _DELIMITED
# Fields of a request, and of a tensor in it, that hold many.
_INPUTS: Final = 5
_SHAPE, _CONTENTS = 3, 5

Field = tuple[int, int, int]  # number, where its bytes begin and end; they begin at 0 in a number


class Allowance(Value, frozen=True):
    """What a right request has at most.

    Attributes:
        fields: names, parameters, tensors and outputs.
        values: numbers of all tensors.
        texts: of all tensors.
    """

    fields: int
    values: int
    texts: int


def weigh(data: bytes, allowed: Allowance) -> None:
    """Refuse what would take far more memory than a right request.

    Args:
        data: a ``ModelInferRequest``, as sent.
        allowed: what a right one has.

    Raises:
        OversizeError: when there is more.
    """
    scale = _Scale(data, allowed)
    try:
        scale.weigh_request()
    except (IndexError, KeyError):
        return


class _Scale:
    """Counts fields and values, no further than is allowed."""

    def __init__(self, data: bytes, allowed: Allowance) -> None:
        self._data, self._allowed = data, allowed
        self._fields = self._values = self._texts = 0

    def weigh_request(self) -> None:
        for number, begin, end in self._read(0, len(self._data)):
            self._count(fields=1)
            if number == _INPUTS and begin:
                self._weigh_tensor(begin, end)

    def _weigh_tensor(self, start: int, stop: int) -> None:
        for number, begin, end in self._read(start, stop):
            self._count(fields=1)
            if number == _CONTENTS and begin:
                self._weigh_contents(begin, end)
            elif number == _SHAPE and begin:
                self._count(fields=self._count_varints(begin, end))

    def _weigh_contents(self, start: int, stop: int) -> None:
        start = self._pass_short_texts(start, stop)
        for number, begin, end in self._read(start, stop):
            if number == _TEXTS:
                self._count(texts=1)
            elif not begin:
                self._count(values=1)
            elif number in _FLOATS:
                self._count(values=(end - begin) // _FLOATS[number])
            else:
                self._count(values=self._count_varints(begin, end))

    def _pass_short_texts(self, at: int, stop: int) -> int:
        """Count texts below 128 bytes, ten times as fast as fields of any kind."""
        data, most, texts = self._data, self._allowed.texts, 0
        while at < stop and data[at] == _TEXT_TAG and data[at + 1] < _LAST_VARINT and texts <= most:
            at += 2 + data[at + 1]
            texts += 1
        self._count(texts=texts)
        return at

    def _count(self, fields: int = 0, values: int = 0, texts: int = 0) -> None:
        self._fields += fields
        self._values += values
        self._texts += texts
        if self._fields > self._allowed.fields:
            raise OversizeError(
                f"the request has more than {self._allowed.fields} tensors and other fields"
            )
        if self._values > self._allowed.values or self._texts > self._allowed.texts:
            raise OversizeError(
                f"the request's tensors have more than the {self._allowed.values} numbers and "
                f"{self._allowed.texts} texts that are allowed in one request; send them in parts"
            )

    def _count_varints(self, begin: int, end: int) -> int:
        packed = np.frombuffer(self._data, np.uint8, end - begin, begin)
        return int(np.count_nonzero(packed < _LAST_VARINT))

    def _read(self, at: int, stop: int) -> Iterator[Field]:
        """Go through the fields of a message that lies between ``at`` and ``stop``."""
        while at < stop:
            tag, at = self._varint(at)
            kind, begin = tag & 7, 0
            if kind == _VARINT:
                at = self._varint(at)[1]
            elif kind == _DELIMITED:
                size, begin = self._varint(at)
                at = begin + size
            else:
                at += _FIXED[kind]
            if at > stop:
                raise IndexError
            yield tag >> 3, begin, at

    def _varint(self, at: int) -> tuple[int, int]:
        value = 0
        for place in range(_VARINT_BYTES):
            byte = self._data[at + place]
            value |= (byte & (_LAST_VARINT - 1)) << 7 * place
            if byte < _LAST_VARINT:
                return value, at + place + 1
        raise IndexError
