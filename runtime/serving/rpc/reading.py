"""An inference request of gRPC as the request that HTTP brings, with its tensors as bytes.

So names, shapes, sizes and datatypes are checked in one place for both. In: a message's bytes.
Out: an ``InferenceRequest`` and where its tensors lie. Raises ``RequestError`` that names the
place, ``OversizeError`` for far too many tensors.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

import msgspec
import numpy as np
from google.protobuf.message import DecodeError

from runtime.errors import OversizeError, RequestError
from runtime.serving.protocol.inputs import BINARY_SIZE, Binary
from runtime.serving.protocol.messages import InferenceRequest, InputTensor, OutputWish
from runtime.serving.protocol.texts import DATATYPE, as_bytes
from runtime.serving.rpc.messages import message
from runtime.serving.rpc.weighing import weigh

if TYPE_CHECKING:
    from collections.abc import Mapping

    from runtime.serving.protocol.messages import Parameters
    from runtime.serving.rpc.messages import Message
    from runtime.serving.rpc.weighing import Allowance

# Datatypes that may come as numbers: where, and what each is read as.
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


def parse_request(data: bytes, allowed: Allowance) -> Message:
    """Read a message.

    Args:
        data: as sent.
        allowed: what a right request has.

    Returns:
        A ``ModelInferRequest``.

    Raises:
        RequestError: when it is none.
        OversizeError: when it has far too many fields or values.
    """
    weigh(data, allowed)
    try:
        return message("ModelInferRequest").FromString(data)
    except DecodeError as exc:
        raise RequestError(f"the message is no ModelInferRequest: {exc}") from exc


def as_request(sent: Message, most_rows: int) -> tuple[InferenceRequest, Binary]:
    """Write a request as HTTP's with the binary tensor extension.

    Args:
        sent: a ``ModelInferRequest``.
        most_rows: that are allowed.

    Returns:
        The messages, and the bytes of its tensors.

    Raises:
        RequestError: when the tensors' contents are not where they should be.
        OversizeError: when there are far too many texts.
    """
    raw = sent.raw_input_contents
    if raw and len(raw) != len(sent.inputs):
        raise RequestError(
            f"raw_input_contents has {len(raw)} entries for {len(sent.inputs)} inputs; send one "
            "for each, or none"
        )
    if not sent.inputs:
        raise RequestError("inputs: there are none")
    tensors, pieces = [], []
    for at, tensor in enumerate(sent.inputs):
        where = f"inputs[{at}]"
        if raw and tensor.HasField("contents"):
            raise RequestError(f"{where} has contents and raw_input_contents; send one of them")
        content = raw[at] if raw else _contents(tensor, where, most_rows)
        parameters = {**_parameters(tensor.parameters), BINARY_SIZE: len(content)}
        shape = msgspec.Raw(msgspec.json.encode(list(tensor.shape[:_MOST_SIZES])))
        tensors.append(InputTensor(tensor.name, shape, tensor.datatype, parameters))
        pieces.append(content)
    wishes = [OutputWish(one.name, _parameters(one.parameters)) for one in sent.outputs]
    request = InferenceRequest(tensors, sent.id, _parameters(sent.parameters), wishes)
    return request, Binary(pieces[0] if len(pieces) == 1 else b"".join(pieces), 0)


_MOST_SIZES: Final = 8  # of a shape; the ones served have two


def _contents(tensor: Message, where: str, most_rows: int) -> bytes:
    """Give the bytes of numbers or texts that were sent as such."""
    found = {field.name: values for field, values in tensor.contents.ListFields()}
    if tensor.datatype == DATATYPE and not found.keys() - {"bytes_contents"}:
        texts = tensor.contents.bytes_contents
        if len(texts) > most_rows:  # two bytes of a message become fifty in memory
            raise OversizeError(f"{where} has {len(texts)} texts, more than {most_rows} rows")
        return as_bytes(texts)
    if tensor.datatype not in _CONTENTS:
        if found:
            raise RequestError(
                f"{where}: {tensor.datatype or 'a tensor without datatype'} cannot be sent in "
                "contents; send raw_input_contents"
            )
        return b""
    name, kind = _CONTENTS[tensor.datatype]
    if found.keys() - {name}:
        wrong = ", ".join(sorted(found.keys() - {name}))
        raise RequestError(f"{where} is {tensor.datatype} and has {wrong}; send {name}")
    values = found.get(name, ())
    promised = math.prod(tensor.shape)
    if len(values) != promised >= 0:
        raise RequestError(
            f"{where}.{name} has {len(values)} values, its shape {list(tensor.shape)} says "
            f"{promised}"
        )
    try:
        return np.fromiter(values, kind, len(values)).tobytes()
    except OverflowError as exc:
        raise RequestError(f"{where}.{name}: {exc}") from exc


def _parameters(sent: Mapping[str, Message]) -> Parameters:
    found: Parameters = {}
    for name, value in sent.items():
        choice = value.WhichOneof("parameter_choice")
        found[name] = getattr(value, choice) if choice else None
    return found
