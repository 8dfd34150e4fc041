"""Look into the bytes of an ONNX file before the engine opens it.

A tensor of an ONNX file may lie in another file, which onnxruntime reads from the working
directory when it is given bytes: nothing outside a bundle is ever to be read. In: bytes. Out:
nothing, or an ``ArtifactError``.

The field numbers are those of onnx.proto (ONNX IR version 3 and later); the wire format is that
of Protocol Buffers: a varint of field number and wire type, then a varint, 4 or 8 bytes, or a
length and so many bytes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from runtime.errors import ArtifactError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

# Which fields of a message hold messages that tensors can lie in.
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
EXTERNAL_DATA: Final = 13  # of TensorProto: where the values lie
DATA_LOCATION: Final = 14  # of TensorProto: 1 means elsewhere
IR_VERSION: Final = 1  # of ModelProto
OPSET_IMPORT: Final = 8  # of ModelProto
OPSET_DOMAIN, OPSET_VERSION = 1, 2  # of OperatorSetIdProto
_VARINT, _FIXED64, _LENGTH, _FIXED32 = 0, 1, 2, 5
_WIDTHS = {_FIXED64: 8, _FIXED32: 4}
_LONGEST_VARINT = 10  # bytes
_LARGEST_KEY = 2**32 - 1


def refuse_external_data(content: bytes, *, where: str) -> None:
    """Make sure that every tensor of an ONNX file lies in the file itself."""
    pending = [("ModelProto", memoryview(content))]
    try:
        while pending:
            message, data = pending.pop()
            for field, value in _fields(data):
                if message == "TensorProto" and _is_elsewhere(field, value):
                    raise ArtifactError(
                        f"{where} keeps weights in another file, which is not read: "
                        "export the model again, with its weights inside"
                    )
                inner = FIELDS[message].get(field)
                if inner and isinstance(value, memoryview):
                    pending.append((inner, value))
    except (ValueError, IndexError) as exc:
        raise ArtifactError(f"{where} is no ONNX model; export the model again") from exc


def read_versions(content: bytes) -> tuple[int, int]:
    """Read which operators and which format an ONNX file is written in."""
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


def _is_elsewhere(field: int, value: memoryview | int) -> bool:
    return field == EXTERNAL_DATA or (field == DATA_LOCATION and value != 0)


def _fields(data: memoryview) -> Iterator[tuple[int, memoryview | int]]:
    """Split a message: the number of each field with its bytes, or its value if it is a varint."""
    at = 0
    while at < len(data):
        key, at = _read_varint(data, at)
        if key > _LARGEST_KEY:  # others drop the upper bits, and read another field than we do
            raise ValueError(f"a field's key is {key}")
        field, kind = key >> 3, key & 7
        if kind == _VARINT:
            value, at = _read_varint(data, at)
            yield field, value
            continue
        size = _WIDTHS.get(kind)
        if kind == _LENGTH:
            size, at = _read_varint(data, at)
        if size is None or size > len(data) - at:
            raise ValueError(f"wire type {kind} with {len(data) - at} bytes left")
        yield field, data[at : at + size]
        at += size


def _read_varint(data: memoryview, at: int) -> tuple[int, int]:
    """Read seven bits a byte, the lowest first; return the number and where it ends."""
    value = 0
    for position in range(_LONGEST_VARINT):
        byte = data[at + position]
        value |= (byte & 0x7F) << (7 * position)
        if byte < 0x80:  # noqa: PLR2004 - the high bit says that more bytes follow
            return value, at + position + 1
    raise ValueError("a varint of more than ten bytes")
