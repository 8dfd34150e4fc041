"""The protocol's JSON messages, parsed strictly: inference and model repository requests."""

from __future__ import annotations

import codecs
import json
import re
from typing import TYPE_CHECKING, Annotated, Any, Final

import msgspec
from msgspec import UNSET, Meta, Raw, UnsetType

from runtime.errors import BodyError, OversizeError, RequestError
from runtime.serving.v2.malformed import explain_malformed

if TYPE_CHECKING:
    from runtime.serving.http.messages import Buffer

Parameters = dict[str, str | int | float | bool | None]

# Constraints for /openapi.json only: decoding leaves them to checks that name the location.
_DATATYPES: Final = (
    *("FP16", "FP32", "FP64", "BF16", "INT8", "INT16", "INT32", "INT64"),
    *("UINT8", "UINT16", "UINT32", "UINT64", "BYTES"),
)
_SIZES_SCHEMA: Final = {"type": "array", "items": {"type": "integer", "minimum": 0}}
_CELL_SCHEMA: Final = {"type": ["number", "string", "null"]}
_DATA_SCHEMA: Final = {
    "type": "array",
    "items": {"anyOf": [_CELL_SCHEMA, {"type": "array", "items": _CELL_SCHEMA}]},
    "description": "flat or one list per row; null for a missing value, where training had some",
}
Datatype = Annotated[
    str,
    Meta(
        description="BYTES for a column of categories or dates, a number for all others",
        extra_json_schema={"enum": _DATATYPES},
    ),
]
OutputName = Annotated[str, Meta(extra_json_schema={"enum": ["label", "probabilities", "logits"]})]

_STRINGS_PER_TENSOR: Final = 64  # a valid tensor has some fifteen
_MAX_SHAPE: Final = 64  # characters
# Bounds of what the slow search for duplicate keys reads: a request without its data.
_NAMES_BYTES: Final = 64 * 1024
_TENSOR_BYTES: Final = 1024
# A list under the key data, flat or nested, to its end or the end of the text: it matches all that
# it scans, so the search is linear.
_DATA: Final = re.compile(
    rb'(?<!\\)"data"\s*+:\s*+\['
    rb'(?:[^\]"]++|"(?:[^"\\]++|\\.)*+"|\](?=\s*+,\s*+\[))*+\]?',
    re.DOTALL,
)
BODY: Final = "the body"  # in messages
_BOM: Final = codecs.BOM_UTF8
_BYTE: Final = re.compile(r"\(byte (\d+)\)$")
_CONSTANT: Final = re.compile(rb"[-+]?\b(?:nan|none|inf|infinity)\b", re.IGNORECASE)
_CONSTANT_BYTES: Final = 16
_LOCATION: Final = re.compile(r" - at `(?:key in )?\$\.?(.*)`$")
_MAX_PARAMS_BYTES: Final = 64 * 1024  # of a body without tensors
_MAX_SHAPES: Final = 1024


class InputTensor(msgspec.Struct):
    """An input tensor."""

    # Shape and data stay JSON until their size has been checked.
    name: str  # of a column, or ``features``
    shape: Annotated[Raw, Meta(extra_json_schema=_SIZES_SCHEMA)]
    datatype: Datatype
    parameters: Parameters | UnsetType | None = UNSET  # ``binary_data_size``
    data: Annotated[Raw, Meta(extra_json_schema=_DATA_SCHEMA)] | UnsetType = UNSET


class RequestedOutput(msgspec.Struct):
    """An output that a request selects."""

    name: OutputName
    parameters: Parameters | UnsetType | None = UNSET  # ``binary_data``


class InferenceRequest(msgspec.Struct):
    """The JSON part of an inference request."""

    inputs: Annotated[list[InputTensor], Meta(extra_json_schema={"minItems": 1})]
    id: str | UnsetType | None = UNSET  # echoed in the response
    parameters: Parameters | UnsetType | None = UNSET  # ``binary_data_output``
    outputs: list[RequestedOutput] | UnsetType | None = UNSET  # all where unset


class RepositoryParams(msgspec.Struct):
    """The body of a model repository request; unknown keys are ignored."""

    ready: bool = False  # list ready models only
    parameters: dict[str, Any] | None = None  # of loading or unloading


_REQUEST: Final = msgspec.json.Decoder(InferenceRequest)
_REPOSITORY_PARAMS: Final = msgspec.json.Decoder(RepositoryParams)
_SHAPE: Final = msgspec.json.Decoder(list[int])
_ENCODER: Final = msgspec.json.Encoder()
_SHAPES: Final[dict[bytes, tuple[int, ...]]] = {}  # clients repeat a few shapes


def parse_request(text: Buffer, *, max_tensors: int, max_strings: int = 0) -> InferenceRequest:
    """Parse the JSON part of an inference request.

    A valid request has at most ``max_tensors`` tensors with ``max_strings`` strings. Raises
    ``RequestError`` when it is not JSON, or a field is missing, duplicated or of another type,
    ``OversizeError`` when it has far more strings.
    """
    strings = _count_quotes(text)
    limit = 2 * _STRINGS_PER_TENSOR * (max_tensors + 4)
    if strings > limit + 2 * max_strings or (
        strings > limit and _count_quotes(_DATA.sub(b"", text)) > limit
    ):
        raise OversizeError(
            f"the request holds some {strings // 2} strings; a request to this model has at most "
            f"{max_tensors} tensors and {max_strings} strings in them"
        )
    request: InferenceRequest = decode(_REQUEST, text)
    # No key is duplicated or unknown if the encoded request has as many quotes as the body.
    if b"\\" in text or _count_quotes(_ENCODER.encode(request)) != strings:
        _reject_duplicates(_without_data(text, request, max_tensors))
    return request


def parse_repository_params(body: bytes | bytearray) -> RepositoryParams:
    """Parse the body of a model repository request, empty for the defaults."""
    if len(body) > _MAX_PARAMS_BYTES:
        raise OversizeError(f"the body is larger than the {_MAX_PARAMS_BYTES} bytes allowed here")
    if not body:
        return RepositoryParams()
    try:
        params: RepositoryParams = decode(_REPOSITORY_PARAMS, body, BODY)
    except BodyError as exc:
        raise BodyError(f"{exc}; send no body, or a JSON object") from exc
    return params


def parse_shape(tensor: InputTensor, where: str) -> tuple[int, ...]:
    """Parse a tensor's shape; raises ``RequestError`` unless it is sizes of 0 or more."""
    text = bytes(tensor.shape)
    cached = _SHAPES.get(text)
    if cached is not None:
        return cached
    if len(text) > _MAX_SHAPE:
        raise RequestError(f"{where}.shape is not valid: it has {len(text)} characters")
    sizes = decode(_SHAPE, text, f"{where}.shape")
    if any(size < 0 for size in sizes):
        raise RequestError(f"{where}.shape is {sizes}: sizes are 0 or more")
    shape = tuple(sizes)
    if len(_SHAPES) < _MAX_SHAPES:
        _SHAPES[text] = shape
    return shape


def decode(decoder: msgspec.json.Decoder[Any], text: Buffer, where: str = "") -> Any:  # noqa: ANN401 - the decoder's type
    """Decode JSON; raises ``RequestError`` that names the location, ``where`` being the text's.

    A byte order mark is skipped, as RFC 8259, 8.1 allows.
    """
    try:
        return decoder.decode(text)
    except RecursionError as exc:
        raise RequestError(f"{where or 'the request'} is nested too deeply") from exc
    except (msgspec.DecodeError, UnicodeDecodeError) as exc:
        if text[: len(_BOM)] == _BOM:
            return decode(decoder, text[len(_BOM) :], where)
        raise _describe_error(exc, text, where) from exc


def _describe_error(
    exc: msgspec.DecodeError | UnicodeDecodeError, text: Buffer, where: str
) -> RequestError:
    """Translate a decoder's error; a ``BodyError`` where the whole body is something else."""
    at = where or "the request"
    if reason := _explain_constant(str(exc), text):
        return RequestError(f"{at}: {reason}")
    is_body = where in {"", BODY}
    if is_body and not isinstance(exc, msgspec.ValidationError):
        return BodyError(f"{at} {explain_malformed(text, _lower_first(str(exc)))}")
    place = _LOCATION.search(str(exc))
    is_whole = is_body and (place is None or place[1].startswith("["))  # or one of its rows
    return (BodyError if is_whole else RequestError)(_explain(str(exc), where))


def _count_quotes(text: Buffer) -> int:
    return text.tobytes().count(b'"') if isinstance(text, memoryview) else text.count(b'"')


def _explain_constant(message: str, text: Buffer) -> str:
    """Explain where Python's and JavaScript's words for numbers are no JSON; else empty."""
    found = _BYTE.search(message)
    start = max(int(found[1]) - 1, 0) if found else 0  # a sign may precede the byte
    word = _CONSTANT.search(bytes(text[start : start + _CONSTANT_BYTES])) if found else None
    if word is None:
        return ""
    is_infinite = b"inf" in word[0].lower()
    remedy = "send a finite number, or null" if is_infinite else "send null"
    return f"{word[0].decode()} is no JSON, {remedy} (byte {start + word.start()})"


def _explain(message: str, where: str) -> str:
    """Reformat msgspec's message, the location first."""
    location = _LOCATION.search(message)
    inner = location[1] if location else ""
    reason = (message[: location.start()] if location else message).replace("`", "")
    at = f"{where}.{inner}" if where and inner and inner[0] != "[" else where + inner
    return f"{at or 'the request'}: {_lower_first(reason)}"


def _lower_first(reason: str) -> str:
    return reason if reason.startswith("JSON") else reason[0].lower() + reason[1:]


def _without_data(text: Buffer, request: InferenceRequest, max_tensors: int) -> bytes:
    """Return the request without its tensors' data, which has no keys."""
    rest = bytes(text)
    for tensor in request.inputs:
        if isinstance(tensor.data, Raw):
            rest = rest.replace(bytes(tensor.data), b"0")
    limit = _NAMES_BYTES + _TENSOR_BYTES * max_tensors
    if len(rest) > limit:
        raise OversizeError(f"the request has {len(rest)} bytes besides its data; at most {limit}")
    return rest


def _reject_duplicates(text: bytes) -> None:
    """Reject a key that appears twice in one object; slow, and rarely needed."""

    def check(pairs: list[tuple[str, object]]) -> None:
        names = [name for name, _ in pairs]
        if len(set(names)) < len(names):
            duplicate = next(name for name in names if names.count(name) > 1)
            raise RequestError(f"the key {duplicate!r} appears twice in one object")

    try:
        json.loads(text.decode("utf-8-sig"), object_pairs_hook=check)
    except RecursionError as exc:
        raise RequestError("the request is nested too deeply") from exc
    except ValueError as exc:  # in what msgspec skips, such as the value of an unknown key
        raise RequestError(f"the request: JSON is malformed: {exc}") from exc
