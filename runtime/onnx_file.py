"""Parse an ONNX file before onnxruntime opens it: external data and required versions.

onnxruntime would read external tensor data from the working directory; a bundle must be
self-contained. Field numbers are those of onnx.proto (ONNX IR version 3 and later), in the wire
format of Protocol Buffers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from runtime.errors import ArtifactError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

# Fields of each message whose messages can contain tensors.
FIELDS: Final[Mapping[str, Mapping[int, str]]] = {
    "ModelProto": {7: "GraphProto", 20: "TrainingInfoProto", 25: "FunctionProto"},
    "TrainingInfoProto": {1: "GraphProto", 2: "GraphProto"},
    "GraphProto": {1: "NodeProto", 5: "TensorProto", 15: "SparseTensorProto"},
    "FunctionProto": {7: "NodeProto", 11: "AttributeProto"},
    "NodeProto": {5: "AttributeProto"},
    "AttributeProto": {
        5: "TensorProto",
        6: "GraphProto",
        10: "TensorProto",
        11: "GraphProto",
        22: "SparseTensorProto",
        23: "SparseTensorProto",
    },
    "SparseTensorProto": {1: "TensorProto", 2: "TensorProto"},
    "TensorProto": {},
}
EXTERNAL_DATA: Final = 13  # of TensorProto: location of the values
DATA_LOCATION: Final = 14  # of TensorProto: 1 means EXTERNAL
IR_VERSION: Final = 1  # of ModelProto
OPSET_IMPORT: Final = 8  # of ModelProto
OPSET_DOMAIN, OPSET_VERSION = 1, 2  # of OperatorSetIdProto
_VARINT, _FIXED64, _LENGTH, _FIXED32 = 0, 1, 2, 5
_WIDTHS = {_FIXED64: 8, _FIXED32: 4}
_MAX_VARINT_BYTES = 10
_MAX_KEY = 2**32 - 1


def refuse_external_data(content: bytes, *, where: str) -> None:
    """Refuse an ONNX file with tensors in another file."""
    pending = [("ModelProto", memoryview(content))]
    try:
        while pending:
            message, data = pending.pop()
            for field, value in _fields(data):
                if message == "TensorProto" and _is_external(field, value):
                    raise ArtifactError(
                        f"{where} has weights in another file (external data), which is not read: "
                        "export the model again with its weights in the file"
                    )
                inner = FIELDS[message].get(field)
                if inner and isinstance(value, memoryview):
                    pending.append((inner, value))
    except (ValueError, IndexError) as exc:
        raise ArtifactError(f"{where} is not an ONNX model; export the model again") from exc


def read_versions(content: bytes) -> tuple[int, int]:
    """Read the opset version and the IR version of an ONNX file."""
    opset = ir = 0
    for field, value in _fields(memoryview(content)):
        if field == IR_VERSION and isinstance(value, int):
            ir = value
        if field == OPSET_IMPORT and isinstance(value, memoryview):
            entry = dict(_fields(value))
            domain, version = entry.get(OPSET_DOMAIN, b""), entry.get(OPSET_VERSION, 0)
            if isinstance(version, int) and domain in {b"", b"ai.onnx"}:
                opset = max(opset, version)
    return opset, ir


def _is_external(field: int, value: memoryview | int) -> bool:
    return field == EXTERNAL_DATA or (field == DATA_LOCATION and value != 0)


def _fields(data: memoryview) -> Iterator[tuple[int, memoryview | int]]:
    """Parse the fields of a message: their numbers, with bytes or the value of a varint."""
    offset = 0
    while offset < len(data):
        key, offset = _read_varint(data, offset)
        if key > _MAX_KEY:  # other parsers drop the upper bits and would read another field
            raise ValueError(f"a field's key is {key}")
        field, wire_type = key >> 3, key & 7
        if wire_type == _VARINT:
            value, offset = _read_varint(data, offset)
            yield field, value
            continue
        size = _WIDTHS.get(wire_type)
        if wire_type == _LENGTH:
            size, offset = _read_varint(data, offset)
        if size is None or size > len(data) - offset:
            raise ValueError(f"wire type {wire_type} with {len(data) - offset} bytes remaining")
        yield field, data[offset : offset + size]
        offset += size


def _read_varint(data: memoryview, offset: int) -> tuple[int, int]:
    """Decode a varint; return its value and the position after it."""
    value = 0
    for index in range(_MAX_VARINT_BYTES):
        byte = data[offset + index]
        value |= (byte & 0x7F) << (7 * index)
        if byte < 0x80:  # noqa: PLR2004 - the high bit marks a continuation
            return value, offset + index + 1
    raise ValueError("a varint of more than ten bytes")
