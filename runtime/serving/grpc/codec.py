"""gRPC messages: their classes, and their conversion from and to requests and responses."""

from __future__ import annotations

import math
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

import grpc
import msgspec
import numpy as np
from google.protobuf.descriptor_pb2 import FileDescriptorSet
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.json_format import ParseDict
from google.protobuf.message import DecodeError
from google.protobuf.message_factory import GetMessageClass

from runtime.errors import OversizeError, RequestError
from runtime.serving.grpc.message_limits import check_message
from runtime.serving.v2.inputs import BINARY_SIZE, BinaryData
from runtime.serving.v2.messages import InferenceRequest, InputTensor, RequestedOutput
from runtime.serving.v2.outputs import DATATYPES
from runtime.serving.v2.tensors import BYTES, encode_strings

if TYPE_CHECKING:
    from collections.abc import Mapping

    from google.protobuf.descriptor import ServiceDescriptor

    from runtime.serving.grpc.message_limits import MessageLimits
    from runtime.serving.http.messages import Response
    from runtime.serving.v2.messages import Parameters
    from runtime.serving.v2.outputs import RequestedOutputs
    from runtime.session import Outputs

SERVICE: Final = "inference.GRPCInferenceService"
DESCRIPTORS: Final = "open_inference.binpb"
# By datatype: the field of the contents, and the dtype of its numbers.
_CONTENTS: Final = {
    "FP32": ("fp32_contents", "<f4"),
    "FP64": ("fp64_contents", "<f8"),
    "INT8": ("int_contents", "<i1"),
    "INT16": ("int_contents", "<i2"),
    "INT32": ("int_contents", "<i4"),
    "INT64": ("int64_contents", "<i8"),
    "UINT8": ("uint_contents", "<u1"),
    "UINT16": ("uint_contents", "<u2"),
    "UINT32": ("uint_contents", "<u4"),
    "UINT64": ("uint64_contents", "<u8"),
}
_MAX_DIMENSIONS: Final = 8  # valid shapes have two
_STATUS_CODES: Final = {
    400: grpc.StatusCode.INVALID_ARGUMENT,
    401: grpc.StatusCode.UNAUTHENTICATED,
    403: grpc.StatusCode.PERMISSION_DENIED,
    404: grpc.StatusCode.NOT_FOUND,
    413: grpc.StatusCode.RESOURCE_EXHAUSTED,
    503: grpc.StatusCode.UNAVAILABLE,
}

Message = Any  # classes made from a descriptor have no static type
MessageClass = Any


@cache
def service() -> ServiceDescriptor:
    """Load the service and, through it, all messages."""
    content = files("runtime.serving.grpc").joinpath(DESCRIPTORS).read_bytes()
    pool = DescriptorPool()
    for file in FileDescriptorSet.FromString(content).file:
        pool.AddSerializedFile(file.SerializeToString())
    return pool.FindServiceByName(SERVICE)


@cache
def message(name: str) -> MessageClass:
    """Return the class of a message, for example ``ModelInferRequest``."""
    return GetMessageClass(service().file.message_types_by_name[name])


# ---- Requests --------------------------------------------------------------------------------


def parse_message(data: bytes, limits: MessageLimits) -> Message:
    """Parse a ``ModelInferRequest``; raises ``RequestError``, ``OversizeError`` beyond limits."""
    check_message(data, limits)
    try:
        return message("ModelInferRequest").FromString(data)
    except DecodeError as exc:
        raise RequestError(f"the message is not a ModelInferRequest: {exc}") from exc


def to_request(sent: Message, max_rows: int) -> tuple[InferenceRequest, BinaryData]:
    """Convert a ``ModelInferRequest`` to HTTP's request and the bytes of its tensors."""
    raw = sent.raw_input_contents
    if raw and len(raw) != len(sent.inputs):
        raise RequestError(
            f"raw_input_contents has {len(raw)} entries for {len(sent.inputs)} inputs; send one "
            "for each, or none"
        )
    if not sent.inputs:
        raise RequestError("inputs is empty")
    tensors, pieces = [], []
    for at, tensor in enumerate(sent.inputs):
        where = f"inputs[{at}]"
        if raw and tensor.HasField("contents"):
            raise RequestError(f"{where} has contents and raw_input_contents; send one of them")
        content = raw[at] if raw else _read_contents(tensor, where, max_rows)
        parameters = {**_to_parameters(tensor.parameters), BINARY_SIZE: len(content)}
        shape = msgspec.Raw(msgspec.json.encode(list(tensor.shape[:_MAX_DIMENSIONS])))
        tensors.append(InputTensor(tensor.name, shape, tensor.datatype, parameters))
        pieces.append(content)
    outputs = [RequestedOutput(one.name, _to_parameters(one.parameters)) for one in sent.outputs]
    request = InferenceRequest(tensors, sent.id, _to_parameters(sent.parameters), outputs)
    return request, BinaryData(pieces[0] if len(pieces) == 1 else b"".join(pieces), 0)


def _read_contents(tensor: Message, where: str, max_rows: int) -> bytes:
    """Encode the typed contents of a tensor as its bytes."""
    found = {field.name: values for field, values in tensor.contents.ListFields()}
    if tensor.datatype == BYTES and not found.keys() - {"bytes_contents"}:
        strings = tensor.contents.bytes_contents
        if len(strings) > max_rows:  # two bytes of a message become fifty in memory
            raise OversizeError(f"{where} has {len(strings)} strings, more than {max_rows} rows")
        return encode_strings(strings)
    if tensor.datatype not in _CONTENTS:
        if found:
            raise RequestError(
                f"{where}: {tensor.datatype or 'a tensor without datatype'} is not supported in "
                "contents; send raw_input_contents"
            )
        return b""
    name, dtype = _CONTENTS[tensor.datatype]
    if found.keys() - {name}:
        wrong = ", ".join(sorted(found.keys() - {name}))
        raise RequestError(f"{where} is {tensor.datatype} and has {wrong}; send {name}")
    values = found.get(name, ())
    size = math.prod(tensor.shape)
    if len(values) != size >= 0:
        raise RequestError(
            f"{where}.{name} has {len(values)} values, its shape {list(tensor.shape)} needs {size}"
        )
    try:
        return np.fromiter(values, dtype, len(values)).tobytes()
    except OverflowError as exc:
        raise RequestError(f"{where}.{name}: {exc}") from exc


def _to_parameters(sent: Mapping[str, Message]) -> Parameters:
    found: Parameters = {}
    for name, value in sent.items():
        choice = value.WhichOneof("parameter_choice")
        found[name] = getattr(value, choice) if choice else None
    return found


def http_target(name: str, version: str, resource: str = "") -> str:
    """Return HTTP's path of a model, or of a resource below it."""
    parts = ["", "v2", "models", quote(name, safe="")]
    if version:
        parts += ["versions", quote(version, safe="")]
    return "/".join([*parts, resource] if resource else parts)


# ---- Responses -------------------------------------------------------------------------------


def encode_outputs(
    requested: RequestedOutputs, outputs: Outputs, model: dict[str, str], *, raw: bool
) -> Message:
    """Encode the requested outputs as a ``ModelInferResponse``, as bytes or as numbers."""
    response = message("ModelInferResponse")(**model, id=requested.id or "")
    for name, _ in requested.outputs:
        values, datatype = getattr(outputs, name), DATATYPES[name]
        tensor = response.outputs.add(name=name, datatype=datatype, shape=values.shape)
        if raw:
            little = values.astype(values.dtype.newbyteorder("<"), copy=False)
            response.raw_output_contents.append(little.tobytes())
        else:
            getattr(tensor.contents, _CONTENTS[datatype][0]).extend(values.reshape(-1).tolist())
    return response


def to_message(name: str, response: Response) -> Message:
    """Convert HTTP's JSON to a message: the protocol gives both the same names."""
    values = msgspec.json.decode(b"".join(response.body))
    if isinstance(values, list):  # HTTP's list of models is bare
        values = {"models": values}
    return ParseDict(values, message(name)(), ignore_unknown_fields=True)


def grpc_status(response: Response) -> tuple[grpc.StatusCode, str]:
    """Convert HTTP's error response to a status code and its details."""
    details = msgspec.json.decode(b"".join(response.body)).get("error", "")
    return _STATUS_CODES.get(response.status, grpc.StatusCode.INTERNAL), details
