"""A tensor's numbers, from JSON or from bytes, as float64 or float32.

Datatypes are those of the protocol. A value is read as its datatype says, so an INT8 of 300 is
refused, and rounded once to float32 later on. Sizes are compared with the declared shape before
anything is allocated. Raises ``RequestError`` that names the place.
"""

from __future__ import annotations

import struct
from functools import lru_cache
from itertools import chain
from types import GenericAlias
from typing import TYPE_CHECKING, Any, Final

import msgspec
import numpy as np
import numpy.typing as npt

from runtime.errors import RequestError
from runtime.serving.protocol.messages import decode
from runtime.value import Value

if TYPE_CHECKING:
    from msgspec import Raw

    from runtime.serving.http.message import Buffer

Numbers = npt.NDArray[np.float32] | npt.NDArray[np.float64]

_FLOATS: Final = {"FP16": "<f2", "FP32": "<f4", "FP64": "<f8"}
_INTEGERS: Final = {
    f"{sign}INT{bits}": f"<{kind}{bits // 8}"
    for sign, kind in (("", "i"), ("U", "u"))
    for bits in (8, 16, 32, 64)
}
_BF16: Final = "BF16"  # the upper half of a float32
_DTYPES: Final = {
    name: np.dtype(code) for name, code in (_FLOATS | _INTEGERS | {_BF16: "<u2"}).items()
}
_BLANKS: Final = b" \t\r\n"


def check_datatype(datatype: str, where: str) -> None:
    """Refuse a datatype that is no number.

    Args:
        datatype: as the protocol spells it.
        where: place of the tensor.

    Raises:
        RequestError: for BOOL, BYTES and what nobody knows.
    """
    if datatype not in _DTYPES:
        raise RequestError(
            f"{where}.datatype is {datatype!r}; send {', '.join(_DTYPES)}: the columns are numbers"
        )


def numbers_of_bytes(content: Buffer, offset: int, count: int, datatype: str) -> Numbers:
    """Look at bytes as numbers, in place.

    Args:
        content: the body.
        offset: where the tensor begins, bytes.
        count: how many numbers.
        datatype: a known one.

    Returns:
        ``(count,)`` float32 or float64.
    """
    values: npt.NDArray[Any] = np.frombuffer(content, _DTYPES[datatype], count, offset)
    if datatype == "FP32":  # an odd address is no place for the engine to read from
        return values if values.flags.aligned else values.copy()
    if datatype == _BF16:
        return (values.astype(np.uint32) << 16).view(np.float32)
    return values.astype(np.float64)


def size_of(datatype: str) -> int:
    """Bytes of one number."""
    return _DTYPES[datatype].itemsize


class Place(Value, frozen=True, gc=False):
    """A tensor of numbers, and what it means.

    Attributes:
        where: its place in the request.
        width: numbers a row.
        gaps: columns, by their position in a row, in which a number may be missing.
    """

    where: str
    width: int
    gaps: tuple[int, ...] = ()


def numbers_of_json(data: Raw, rows: int, datatype: str, place: Place) -> Numbers:
    """Read numbers from JSON, flat in row-major order or one list a row.

    Args:
        data: a JSON list.
        rows: as declared, within the limits.
        datatype: a known one.
        place: of the tensor.

    Returns:
        ``(rows * width,)`` float64, NaN for null where a number may be missing.

    Raises:
        RequestError: when there are more or fewer numbers, or something that is no number.
    """
    text, where, width = bytes(data), place.where, place.width
    inner = text[1:].lstrip(_BLANKS)
    count = text.count(b",") + 1 if inner != b"]" else 0
    if count != rows * width:
        raise RequestError(
            f"{where}.data has {count} numbers, its shape [{rows}, {width}] says {rows * width}"
        )
    if datatype == _BF16:
        raise RequestError(f"{where}: JSON cannot carry {_BF16}; send it as binary data, or FP32")
    nested = inner.startswith(b"[")
    has_gaps = bool(place.gaps) and b"null" in text
    decoder = _decoder(datatype in _INTEGERS, width if nested else 0, has_gaps)
    found: list[Any] = decode(decoder, text, f"{where}.data")
    values = list(chain.from_iterable(found)) if nested else found
    if has_gaps:
        return _with_gaps(values, datatype, place, nested=nested)
    return _typed(values, datatype, where)


def _with_gaps(values: list[Any], datatype: str, place: Place, *, nested: bool) -> Numbers:
    """Read numbers of which some are null, where they may be."""
    missing = np.fromiter((value is None for value in values), np.bool_, len(values))
    wrong = missing.reshape(-1, place.width).copy()
    wrong[:, list(place.gaps)] = False
    if wrong.any():
        row, column = (int(at) for at in np.argwhere(wrong)[0])
        at = f"[{row}][{column}]" if nested else f"[{row * place.width + column}]"
        raise RequestError(
            f"{place.where}.data{at}: expected a number, got null; no number of its column may "
            "be missing"
        )
    filled = [0 if value is None else value for value in values]
    numbers = _typed(filled, datatype, place.where)
    numbers[missing] = np.nan
    return numbers


@lru_cache(maxsize=64)
def _decoder(is_integer: bool, width: int, has_gaps: bool) -> msgspec.json.Decoder[Any]:  # noqa: FBT001 - the key of a cache
    """Make a decoder of flat numbers, or of rows of ``width`` where that is not 0."""
    number: Any = int if is_integer else float
    number = number | None if has_gaps else number
    row: Any = tuple[(number,) * width] if width else number  # type: ignore[misc]
    return msgspec.json.Decoder(GenericAlias(list, (row,)))


def _typed(values: list[Any], datatype: str, where: str) -> Numbers:
    """Read Python's numbers as their datatype says."""
    count = len(values)
    if datatype in {"FP32", "FP64"}:
        numbers = np.empty(count)
        struct.pack_into(f"{count}d", numbers.data, 0, *values)  # fromiter takes 2.5 times as long
        return numbers
    try:
        with np.errstate(over="ignore"):
            return np.fromiter(values, _DTYPES[datatype], count).astype(np.float64)
    except OverflowError as exc:
        raise RequestError(f"{where}.data: {exc}") from exc
