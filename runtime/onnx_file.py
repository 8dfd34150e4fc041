"""Parse an ONNX file before onnxruntime opens it: external data and required versions.

onnxruntime would read external tensor data from the working directory; a bundle must be
self-contained. Field numbers are those of onnx.proto (ONNX IR version 3 and later).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from runtime.errors import ArtifactError
from runtime.io.protobuf import VARINT, read_fields, read_varint

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
_MAX_FIELD: Final = 2**29 - 1
_GROUPS: Final = (3, 4)  # wire types


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
    except ValueError as exc:
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
    """Read the fields of a message: their numbers, with bytes or the value of a varint."""
    for field, wire_type, begin, end in read_fields(data, 0, len(data)):
        if field > _MAX_FIELD:  # other parsers drop the upper bits and would read another field
            raise ValueError(f"there is no field {field}")
        if wire_type in _GROUPS:
            raise ValueError(f"field {field} is a group, which ONNX does not have")
        if wire_type == VARINT:
            yield field, read_varint(data, begin)[0]
        else:
            yield field, data[begin:end]
