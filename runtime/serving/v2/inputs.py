"""Bind a request's tensors to the model's columns.

A request has one tensor ``features`` with all columns in the schema's order, or one tensor a column
in any order, bound by name: numbers, or BYTES for strings. Data is JSON, or binary behind the JSON
(Triton's binary tensor data extension).
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Final

from msgspec import UNSET, Raw

from runtime.errors import OversizeError, RequestError
from runtime.printable import list_first, list_names
from runtime.serving.http.messages import BINARY, JSON
from runtime.serving.v2.columns import FEATURES
from runtime.serving.v2.messages import InferenceRequest, InputTensor, parse_shape
from runtime.serving.v2.tensors import (
    BYTES,
    Numbers,
    TensorSpec,
    check_datatype,
    decode_binary_numbers,
    decode_binary_strings,
    decode_json_numbers,
    decode_json_strings,
    size_of,
)
from runtime.value import Value

if TYPE_CHECKING:
    from runtime.serving.http.messages import Buffer, Request
    from runtime.serving.v2.columns import InputColumns

BINARY_SIZE: Final = "binary_data_size"
LENGTH_FIELD: Final = b"inference-header-content-length"
NO_JSON: Final = b"0"  # the length of the JSON when the body is a single tensor
_SHARED_MEMORY: Final = "shared_memory_region"
_MAX_DIGITS: Final = 18
_FLOAT_BYTES: Final = 4


class BinaryData(Value, frozen=True, gc=False):
    """The binary tensors of a request.

    Attributes:
        content: the whole body.
        start: offset of the first tensor; the end where there is none.
    """

    content: Buffer
    start: int


def split_body(body: bytes | bytearray, length: bytes | None) -> tuple[Buffer, BinaryData]:
    """Split a body into its JSON and its binary tensors.

    ``length`` is the header field with the length of the JSON; None for JSON only. Raises
    ``RequestError`` when it is not a number, or beyond the body.
    """
    if length is None:
        return body, BinaryData(body, len(body))
    if not length.isdigit() or len(length) > _MAX_DIGITS or int(length) > len(body):
        raise RequestError(
            f"the header field Inference-Header-Content-Length is {length.decode('latin-1')!r}; "
            f"it is the length of the JSON, at most the {len(body)} bytes of the body"
        )
    return body[: int(length)], BinaryData(body, int(length))


def raw_request(request: Request, columns: InputColumns) -> InferenceRequest:
    """Convert a body without JSON to a request (Triton's raw binary request).

    It has all columns in one FP32 tensor, and selects all outputs as binary data. Raises
    ``RequestError``.
    """
    if request.headers.get(b"content-type", b"").lower().startswith(JSON):
        raise RequestError(
            "Inference-Header-Content-Length is 0, so the body has no JSON, but Content-Type is "
            f"JSON; send {BINARY.decode()}, or the length of the JSON"
        )
    width, size = columns.schema.n_inputs, len(request.body)
    rows, rest = divmod(size, _FLOAT_BYTES * width)
    if columns.string_columns or rest or not rows:
        raise RequestError(
            "Inference-Header-Content-Length is 0: then the body holds only numbers, "
            f"{width} FP32 a row, and it has {size} bytes"
            + ("; this model has string columns: send JSON" if columns.string_columns else "")
        )
    tensor = InputTensor(FEATURES, Raw(b"[%d,%d]" % (rows, width)), "FP32", {BINARY_SIZE: size})
    return InferenceRequest([tensor], parameters={"binary_data_output": True})


def bind_inputs(
    request: InferenceRequest, binary: BinaryData, columns: InputColumns, max_rows: int
) -> Numbers:
    """Decode a request's tensors into the model's input matrix.

    Returns ``(rows, n_inputs)`` float32, or float64 to be rounded. Raises ``RequestError`` when
    tensors are missing, unknown, duplicated or malformed, ``OversizeError`` for too many rows.
    """
    tensors = request.inputs
    if len(tensors) == 1 and tensors[0].name == FEATURES:
        nullable, width = columns.schema.imputed_inputs, columns.schema.n_inputs
        check_datatype(tensors[0].datatype, "inputs[0]")
        rows = _count_rows(tensors, width, max_rows)
        reader = _TensorReader(binary, rows)
        matrix = reader.read_numbers(tensors[0], TensorSpec("inputs[0]", width, nullable))
        reader.finish()
        return matrix.reshape(rows, width)
    _check_names(tensors, columns)
    rows = _count_rows(tensors, 1, min(max_rows, columns.max_rows))
    reader = _TensorReader(binary, rows)
    sent = {one.name: _read_column(reader, one, columns, at) for at, one in enumerate(tensors)}
    reader.finish()
    return columns.matrix(sent)


def _read_column(
    reader: _TensorReader, tensor: InputTensor, columns: InputColumns, at: int
) -> Numbers | list[bytes]:
    where = f"inputs[{at}]"
    if tensor.name in columns.string_columns:
        return reader.read_strings(tensor, where)
    nullable = (0,) if tensor.name in columns.nullable_columns else ()
    return reader.read_numbers(tensor, TensorSpec(where, 1, nullable))


def _check_names(tensors: list[InputTensor], columns: InputColumns) -> None:
    """Reject names that are missing, duplicated or unknown, all of them at once."""
    names = Counter(tensor.name for tensor in tensors)
    schema = columns.schema
    expected = schema.feature_names
    wrong = [f"{name!r} appears {n} times" for name, n in names.items() if n > 1]
    wrong += [f"{name!r} is missing" for name in expected if name not in names]
    known = set(expected)
    wrong += [f"{name!r} is not a column of the model" for name in names if name not in known]
    if wrong:
        raise RequestError(
            f"inputs: {list_first(wrong)}; send one tensor {FEATURES!r} of shape "
            f"[rows, {schema.n_inputs}] or one tensor a column: {list_names(expected)}"
        )
    for at, tensor in enumerate(tensors):
        if tensor.name not in columns.string_columns:
            check_datatype(tensor.datatype, f"inputs[{at}]")
        elif tensor.datatype != BYTES:
            raise RequestError(
                f"inputs[{at}].datatype is {tensor.datatype!r}; {tensor.name!r} holds strings: "
                f"send {BYTES}"
            )


def _count_rows(tensors: list[InputTensor], width: int, max_rows: int) -> int:
    """Check the declared shapes against the model and each other, before reading data."""
    found: set[int] = set()
    for at, tensor in enumerate(tensors):
        where = f"inputs[{at}]"
        shape = parse_shape(tensor, where)
        if shape[1:] != (width,) and not (width == 1 and len(shape) == 1):
            raise RequestError(
                f"{where}.shape is {list(shape)}; {tensor.name!r} has shape [rows, {width}]"
            )
        found.add(shape[0])
    if len(found) > 1:
        raise RequestError(f"the tensors differ in rows: {', '.join(map(str, sorted(found)))}")
    rows = found.pop()
    if rows > max_rows:
        raise OversizeError(
            f"{rows} rows are more than the {max_rows} allowed in one request; send them in parts"
        )
    return rows


class _TensorReader:
    """Reads tensors in order: binary ones are contiguous."""

    def __init__(self, binary: BinaryData, rows: int) -> None:
        self._binary, self._rows = binary, rows
        self._at = binary.start

    def read_numbers(self, tensor: InputTensor, spec: TensorSpec) -> Numbers:
        size = _binary_size(tensor, spec.where)
        if size is None:
            return decode_json_numbers(tensor.data, self._rows, tensor.datatype, spec)  # type: ignore[arg-type]
        count = self._rows * spec.width
        expected = count * size_of(tensor.datatype)
        if size != expected:
            raise RequestError(
                f"{spec.where}: {BINARY_SIZE} is {size!r}; its shape and {tensor.datatype} "
                f"make {expected} bytes"
            )
        start = self._advance(expected, spec.where).start
        return decode_binary_numbers(self._binary.content, start, count, tensor.datatype)

    def read_strings(self, tensor: InputTensor, where: str) -> list[bytes]:
        size = _binary_size(tensor, where)
        if size is None:
            return decode_json_strings(tensor.data, self._rows, where)  # type: ignore[arg-type]
        span = self._advance(size, where)
        return decode_binary_strings(self._binary.content, span, self._rows, where)

    def _advance(self, size: int, where: str) -> range:
        """Return the span of the next bytes."""
        left = len(self._binary.content) - self._at
        if size > left:
            raise RequestError(
                f"{where}: {size} bytes of binary data were declared, {left} are left in the "
                "body; see the header field Inference-Header-Content-Length"
            )
        start, self._at = self._at, self._at + size
        return range(start, self._at)

    def finish(self) -> None:
        left = len(self._binary.content) - self._at
        if left:
            raise RequestError(f"{left} bytes of the body belong to no tensor; leave them out")


def _binary_size(tensor: InputTensor, where: str) -> int | None:
    """Return the declared size of a binary tensor; None where its data is JSON."""
    parameters = tensor.parameters or {}
    if _SHARED_MEMORY in parameters:
        raise RequestError(f"{where}: shared memory is not supported; send the data")
    size = parameters.get(BINARY_SIZE)
    if (size is None) == (tensor.data is UNSET):
        raise RequestError(
            f"{where} needs either data or the parameter {BINARY_SIZE}, and not both"
        )
    if size is None:
        return None
    if not isinstance(size, int) or isinstance(size, bool) or size < 0:
        raise RequestError(f"{where}: {BINARY_SIZE} is {size!r}; it is a number of bytes")
    return size
