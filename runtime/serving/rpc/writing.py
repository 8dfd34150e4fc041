"""Write answers and refusals as gRPC's messages. No errors."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import grpc
import msgspec
from google.protobuf.json_format import ParseDict

from runtime.serving.protocol.outputs import DATATYPES
from runtime.serving.rpc.messages import message

if TYPE_CHECKING:
    from runtime.serving.http.message import Response
    from runtime.serving.protocol.outputs import Wanted
    from runtime.serving.rpc.messages import Message
    from runtime.session import Outputs

_CODES: Final = {
    400: grpc.StatusCode.INVALID_ARGUMENT,
    401: grpc.StatusCode.UNAUTHENTICATED,
    403: grpc.StatusCode.PERMISSION_DENIED,
    404: grpc.StatusCode.NOT_FOUND,
    413: grpc.StatusCode.RESOURCE_EXHAUSTED,
    503: grpc.StatusCode.UNAVAILABLE,
}
_FIELDS: Final = {"INT64": "int64_contents", "FP32": "fp32_contents"}


def write_answer(wanted: Wanted, answer: Outputs, model: dict[str, str], *, raw: bool) -> Message:
    """Write an answer.

    Args:
        wanted: which outputs.
        answer: the model's outputs for the rows of this request.
        model: ``model_name`` and ``model_version``.
        raw: as bytes, as the request's tensors came.

    Returns:
        A ``ModelInferResponse``.
    """
    response = message("ModelInferResponse")(**model, id=wanted.id or "")
    for name, _ in wanted.outputs:
        values, datatype = getattr(answer, name), DATATYPES[name]
        tensor = response.outputs.add(name=name, datatype=datatype, shape=values.shape)
        if raw:
            little = values.astype(values.dtype.newbyteorder("<"), copy=False)
            response.raw_output_contents.append(little.tobytes())
        else:
            getattr(tensor.contents, _FIELDS[datatype]).extend(values.reshape(-1).tolist())
    return response


def as_message(name: str, response: Response) -> Message:
    """Write an answer of HTTP's as a message: the protocol gives both the same names.

    Args:
        name: of the message.
        response: with JSON, 200.

    Returns:
        The message.
    """
    values = msgspec.json.decode(b"".join(response.body))
    if isinstance(values, list):  # HTTP lists the models without a name for the list
        values = {"models": values}
    return ParseDict(values, message(name)(), ignore_unknown_fields=True)


def status_of(response: Response) -> tuple[grpc.StatusCode, str]:
    """Say a refusal as a status.

    Args:
        response: with ``{"error": …}``.

    Returns:
        Code and message.
    """
    told = msgspec.json.decode(b"".join(response.body)).get("error", "")
    return _CODES.get(response.status, grpc.StatusCode.INTERNAL), told
