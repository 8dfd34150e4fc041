"""Decode a tensor's data, from JSON or binary: numbers as float64 or float32, BYTES as strings.

A value is decoded as its datatype, so an INT8 of 300 is rejected, and rounded to float32 once,
later. Sizes are checked against the declared shape before anything is allocated.
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
from runtime.serving.v2.messages import decode
from runtime.value import Value

if TYPE_CHECKING:
    from msgspec import Raw

    from runtime.serving.http.messages import Buffer

Numbers = npt.NDArray[np.float32] | npt.NDArray[np.float64]

BYTES: Final = "BYTES"  # the datatype of strings
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
_WHITESPACE: Final = b" \t\r\n"
_LENGTH: Final = struct.Struct("<I")
_FLAT_STRINGS: Final = msgspec.json.Decoder(list[str | None])
_NESTED_STRINGS: Final = msgspec.json.Decoder(list[tuple[str | None]])


class TensorSpec(Value, frozen=True, gc=False):
    """The requirements on a tensor of numbers.

    Attributes:
        where: its location in the request.
        width: numbers a row.
        nullable: columns, by position in a row, in which a number may be missing.
    """

    where: str
    width: int
    nullable: tuple[int, ...] = ()


# ---- Numbers -----------------------------------------------------------------------------------


def check_datatype(datatype: str, where: str) -> None:
    """Reject a datatype that is not numeric; raises ``RequestError``."""
    if datatype not in _DTYPES:
        raise RequestError(
            f"{where}.datatype is {datatype!r}; send {', '.join(_DTYPES)}: the columns are numbers"
        )


def size_of(datatype: str) -> int:
    """Return the bytes of one number."""
    return _DTYPES[datatype].itemsize


def decode_binary_numbers(content: Buffer, offset: int, count: int, datatype: str) -> Numbers:
    """Return ``count`` numbers at a byte offset, FP32 without a copy where aligned."""
    values: npt.NDArray[Any] = np.frombuffer(content, _DTYPES[datatype], count, offset)
    if datatype == "FP32":  # onnxruntime reads aligned addresses only
        return values if values.flags.aligned else values.copy()
    if datatype == _BF16:
        return (values.astype(np.uint32) << 16).view(np.float32)
    return values.astype(np.float64)


def decode_json_numbers(data: Raw, rows: int, datatype: str, spec: TensorSpec) -> Numbers:
    """Decode numbers from JSON, flat in row-major order or one list a row.

    Returns ``(rows * width,)`` float64, NaN for null where a number may be missing. Raises
    ``RequestError`` for other values or another number of them.
    """
    text, where, width = bytes(data), spec.where, spec.width
    inner = text[1:].lstrip(_WHITESPACE)
    count = text.count(b",") + 1 if inner != b"]" else 0
    if count != rows * width:
        raise RequestError(
            f"{where}.data has {count} numbers, its shape [{rows}, {width}] needs {rows * width}"
        )
    if datatype == _BF16:
        raise RequestError(f"{where}: JSON cannot carry {_BF16}; send it as binary data, or FP32")
    nested = inner.startswith(b"[")
    has_nulls = bool(spec.nullable) and b"null" in text
    decoder = _number_decoder(datatype in _INTEGERS, width if nested else 0, has_nulls)
    found: list[Any] = decode(decoder, text, f"{where}.data")
    values = list(chain.from_iterable(found)) if nested else found
    if has_nulls:
        return _convert_nullable(values, datatype, spec, nested=nested)
    return _convert(values, datatype, where)


def _convert_nullable(
    values: list[Any], datatype: str, spec: TensorSpec, *, nested: bool
) -> Numbers:
    """Convert numbers of which some are null."""
    missing = np.fromiter((value is None for value in values), np.bool_, len(values))
    wrong = missing.reshape(-1, spec.width).copy()
    wrong[:, list(spec.nullable)] = False
    if wrong.any():
        row, column = (int(at) for at in np.argwhere(wrong)[0])
        at = f"[{row}][{column}]" if nested else f"[{row * spec.width + column}]"
        raise RequestError(
            f"{spec.where}.data{at}: expected a number, got null; no number of its column may "
            "be missing"
        )
    filled = [0 if value is None else value for value in values]
    numbers = _convert(filled, datatype, spec.where)
    numbers[missing] = np.nan
    return numbers


@lru_cache(maxsize=64)
def _number_decoder(is_integer: bool, width: int, has_nulls: bool) -> msgspec.json.Decoder[Any]:  # noqa: FBT001 - the key of a cache
    """Return a decoder of flat numbers, or of rows of ``width`` where that is not 0."""
    number: Any = int if is_integer else float
    number = number | None if has_nulls else number
    row: Any = tuple[(number,) * width] if width else number  # type: ignore[misc]
    return msgspec.json.Decoder(GenericAlias(list, (row,)))


def _convert(values: list[Any], datatype: str, where: str) -> Numbers:
    """Convert Python's numbers through their datatype to float64."""
    count = len(values)
    if datatype in {"FP32", "FP64"}:
        numbers = np.empty(count)
        struct.pack_into(f"{count}d", numbers.data, 0, *values)  # 2.5 times as fast as fromiter
        return numbers
    try:
        with np.errstate(over="ignore"):
            return np.fromiter(values, _DTYPES[datatype], count).astype(np.float64)
    except OverflowError as exc:
        raise RequestError(f"{where}.data: {exc}") from exc


# ---- Strings -----------------------------------------------------------------------------------


def decode_json_strings(data: Raw, rows: int, where: str) -> list[bytes]:
    """Decode strings from JSON, flat or one list a row.

    Returns ``rows`` strings in UTF-8; null is the empty string, as in a file. Raises
    ``RequestError`` for other values or another number of them.
    """
    text = bytes(data)
    is_nested = text[1:].lstrip(_WHITESPACE).startswith(b"[")
    decoder = _NESTED_STRINGS if is_nested else _FLAT_STRINGS
    found: list[Any] = decode(decoder, text, f"{where}.data")
    if len(found) != rows:
        raise RequestError(f"{where}.data has {len(found)} strings, its shape needs {rows}")
    cells = (row[0] for row in found) if is_nested else found
    return [b"" if cell is None else cell.encode() for cell in cells]


def decode_binary_strings(content: Buffer, span: range, rows: int, where: str) -> list[bytes]:
    """Decode strings of the binary tensor extension: 4 bytes of length, little endian, then bytes.

    ``span`` is the tensor's in ``content``. Raises ``RequestError`` when a length is beyond the
    tensor, or the tensor does not hold exactly ``rows`` strings.
    """
    at, end, strings = span.start, span.stop, []
    for row in range(rows):
        begin = at + _LENGTH.size
        at = begin + _LENGTH.unpack_from(content, at)[0] if begin <= end else end + 1
        if at > end:
            raise RequestError(f"{where}: its {len(span)} bytes end within string {row} of {rows}")
        strings.append(bytes(content[begin:at]))
    if at < end:
        raise RequestError(f"{where}: {end - at} bytes follow its {rows} strings; leave them out")
    return strings


def encode_strings(strings: list[bytes]) -> bytes:
    """Encode strings as the binary tensor extension does."""
    return b"".join([_LENGTH.pack(len(text)) + text for text in strings])
