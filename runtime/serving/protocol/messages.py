"""The messages of an inference request, read strictly from JSON.

In: a body. Out: an ``InferenceRequest`` whose tensors' data is still JSON. Raises
``RequestError`` that names the place.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, Final

import msgspec
from msgspec import UNSET, Raw, UnsetType

from runtime.errors import OversizeError, RequestError

if TYPE_CHECKING:
    from runtime.serving.http.message import Buffer

Parameters = dict[str, str | int | float | bool | None]

# A name costs a hundred bytes of memory for three in the body; a request with one tensor a column
# has some fifteen strings a tensor.
_STRINGS_A_TENSOR: Final = 64
_MOST_SHAPE: Final = 64  # characters
# What is looked at slowly, key by key, is bounded: without its numbers, a request is short.
_NAMES_BYTES: Final = 64 * 1024
_TENSOR_BYTES: Final = 1024
# A list under the key data, flat or one list a row, to its end or to where it breaks off: it always
# matches what it has looked at, so no text is looked at twice.
_DATA: Final = re.compile(
    rb'(?<!\\)"data"\s*+:\s*+\['
    rb'(?:[^\]"]++|"(?:[^"\\]++|\\.)*+"|\](?=\s*+,\s*+\[))*+\]?',
    re.DOTALL,
)
_PLACE: Final = re.compile(r" - at `(?:key in )?\$\.?(.*)`$")


class InputTensor(msgspec.Struct):
    """A tensor of a request; ``shape`` and ``data`` are read when their size is known."""

    name: str
    shape: Raw
    datatype: str
    parameters: Parameters | UnsetType | None = UNSET
    data: Raw | UnsetType = UNSET


class OutputWish(msgspec.Struct):
    """An output that is asked for."""

    name: str
    parameters: Parameters | UnsetType | None = UNSET


class InferenceRequest(msgspec.Struct):
    """The JSON part of a request."""

    inputs: list[InputTensor]
    id: str | UnsetType | None = UNSET
    parameters: Parameters | UnsetType | None = UNSET
    outputs: list[OutputWish] | UnsetType | None = UNSET


_REQUEST: Final = msgspec.json.Decoder(InferenceRequest)
# Most clients send the same few shapes for ever.
_KNOWN_SHAPES: Final[dict[bytes, tuple[int, ...]]] = {}
_MOST_KNOWN: Final = 1024
_SHAPE: Final = msgspec.json.Decoder(list[int])
_ENCODER: Final = msgspec.json.Encoder()


def parse_request(text: Buffer, *, most_tensors: int, most_texts: int = 0) -> InferenceRequest:
    """Read a request.

    Args:
        text: the JSON part of the body.
        most_tensors: that a right request has.
        most_texts: that its tensors hold.

    Returns:
        The request, every field of the right type and none of them doubled.

    Raises:
        RequestError: when it is no JSON, a field is missing, doubled or of another type.
        OversizeError: when it has far more names than a request can need.
    """
    strings = _count_quotes(text)
    most_strings = 2 * _STRINGS_A_TENSOR * (most_tensors + 4)
    if strings > most_strings + 2 * most_texts or (
        strings > most_strings and _count_quotes(_DATA.sub(b"", text)) > most_strings
    ):
        raise OversizeError(
            f"the request holds some {strings // 2} strings; a request to this model has at most "
            f"{most_tensors} tensors and {most_texts} texts in them"
        )
    request: InferenceRequest = decode(_REQUEST, text)
    # What was read, written again, has as many strings as the body: then nothing was doubled.
    if b"\\" in text or _count_quotes(_ENCODER.encode(request)) != strings:
        _refuse_doubled(_without_data(text, request, most_tensors))
    return request


def decode(decoder: msgspec.json.Decoder[Any], text: Buffer, where: str = "") -> Any:  # noqa: ANN401 - what the decoder is for
    """Decode JSON.

    Args:
        decoder: knows the type.
        text: the JSON.
        where: place of the text in the request.

    Returns:
        The value.

    Raises:
        RequestError: when it is no JSON or of another type; names the place.
    """
    try:
        return decoder.decode(text)
    except RecursionError as exc:
        raise RequestError(f"{where or 'the request'} is nested too deeply") from exc
    except (msgspec.DecodeError, UnicodeDecodeError) as exc:
        raise RequestError(_explain(str(exc), where)) from exc


def parse_shape(tensor: InputTensor, where: str) -> tuple[int, ...]:
    """Read a tensor's shape.

    Args:
        tensor: of the request.
        where: its place.

    Returns:
        Its sizes, none below 0.

    Raises:
        RequestError: when it is no list of whole numbers.
    """
    text = bytes(tensor.shape)
    known = _KNOWN_SHAPES.get(text)
    if known is not None:
        return known
    if len(text) > _MOST_SHAPE:
        raise RequestError(f"{where}.shape is no shape: it has {len(text)} characters")
    sizes = decode(_SHAPE, text, f"{where}.shape")
    if any(size < 0 for size in sizes):
        raise RequestError(f"{where}.shape is {sizes}: sizes are 0 or more")
    shape = tuple(sizes)
    if len(_KNOWN_SHAPES) < _MOST_KNOWN:
        _KNOWN_SHAPES[text] = shape
    return shape


def _count_quotes(text: Buffer) -> int:
    return text.tobytes().count(b'"') if isinstance(text, memoryview) else text.count(b'"')


def _explain(message: str, where: str) -> str:
    """Say what msgspec says, the place first."""
    place = _PLACE.search(message)
    inner = place[1] if place else ""
    said = (message[: place.start()] if place else message).replace("`", "")
    at = f"{where}.{inner}" if where and inner and inner[0] != "[" else where + inner
    said = said if said.startswith("JSON") else said[0].lower() + said[1:]
    return f"{at or 'the request'}: {said}"


def _without_data(text: Buffer, request: InferenceRequest, most_tensors: int) -> bytes:
    """Take out the numbers, which have no keys: what is left of any right request is short."""
    left = bytes(text)
    for tensor in request.inputs:
        if isinstance(tensor.data, Raw):
            left = left.replace(bytes(tensor.data), b"0")
    most = _NAMES_BYTES + _TENSOR_BYTES * most_tensors
    if len(left) > most:
        raise OversizeError(f"the request has {len(left)} bytes besides its data; at most {most}")
    return left


def _refuse_doubled(text: bytes) -> None:
    """Look for a key that stands twice in one object; slow, and rarely needed."""

    def look(pairs: list[tuple[str, object]]) -> None:
        names = [name for name, _ in pairs]
        if len(set(names)) < len(names):
            doubled = next(name for name in names if names.count(name) > 1)
            raise RequestError(f"the key {doubled!r} stands twice in one object; which one counts?")

    try:
        json.loads(text.decode(), object_pairs_hook=look)
    except RecursionError as exc:
        raise RequestError("the request is nested too deeply") from exc
    except ValueError as exc:  # in what msgspec passes over, as the value of an unknown key
        raise RequestError(f"the request: JSON is malformed: {exc}") from exc
