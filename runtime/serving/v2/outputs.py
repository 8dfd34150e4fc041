"""The outputs that a request selects, and the encoding of a response."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, Final

import orjson

from runtime.errors import RequestError
from runtime.serving.http.messages import BINARY, Buffer, Response
from runtime.value import Value

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from runtime.serving.v2.messages import InferenceRequest, Parameters
    from runtime.session import Outputs

DATATYPES: Final = {"label": "INT64", "probabilities": "FP32", "logits": "FP32"}
_ALL: Final = tuple((name, False) for name in DATATYPES)
_ALL_BINARY: Final = tuple((name, True) for name in DATATYPES)
_UNSUPPORTED: Final = ("classification", "shared_memory_region")


class RequestedOutputs(Value, frozen=True, gc=False):
    """The outputs of a response.

    Attributes:
        id: of the request, echoed in the response; None where it has none.
        outputs: names in order, and whether each is sent as binary data.
    """

    id: str | None
    outputs: tuple[tuple[str, bool], ...]


def parse_requested_outputs(request: InferenceRequest) -> RequestedOutputs:
    """Return the outputs that a request selects, all of them by default.

    Raises ``RequestError`` for an output that is unknown, duplicated, or requested in an
    unsupported way.
    """
    binary = _flag(request.parameters or {}, "binary_data_output", "parameters") or False
    name = request.id or None
    if not request.outputs:
        return RequestedOutputs(name, _ALL_BINARY if binary else _ALL)
    found: dict[str, bool] = {}
    for at, output in enumerate(request.outputs):
        where, parameters = f"outputs[{at}]", output.parameters or {}
        if output.name not in DATATYPES:
            raise RequestError(
                f"{where}: no output {output.name!r}; there are {', '.join(DATATYPES)}"
            )
        if output.name in found:
            raise RequestError(f"{where}: {output.name!r} is requested twice")
        for parameter in _UNSUPPORTED:
            if parameter in parameters:
                raise RequestError(f"{where}: {parameter} is not supported; leave it out")
        own = _flag(parameters, "binary_data", where)
        found[output.name] = binary if own is None else own
    return RequestedOutputs(name, tuple(found.items()))


def _flag(parameters: Parameters, name: str, where: str) -> bool | None:
    value = parameters.get(name)
    if value is None or isinstance(value, bool):
        return value
    raise RequestError(f"{where}: {name} is {value!r}; it is true or false")


def encode_response(
    requested: RequestedOutputs, outputs: Outputs, model: dict[str, str]
) -> Response:
    """Encode a response: JSON, followed by the binary outputs.

    ``outputs`` are those of the request's rows; ``model`` holds ``model_name`` and
    ``model_version``.
    """
    tensors, pieces = [], []
    for name, binary in requested.outputs:
        values = getattr(outputs, name)
        tensor = {"name": name, "datatype": DATATYPES[name], "shape": values.shape}
        if binary:
            tensor["parameters"] = {"binary_data_size": values.nbytes}
            pieces.append(_little_endian(values))
        else:
            tensor["data"] = values.reshape(-1)
        tensors.append(tensor)
    identity = model if requested.id is None else {**model, "id": requested.id}
    text = orjson.dumps({**identity, "outputs": tensors}, option=orjson.OPT_SERIALIZE_NUMPY)
    if not pieces:
        return Response(200, (text,))
    length = (b"inference-header-content-length", b"%d" % len(text))
    return Response(200, (text, *pieces), BINARY, (length,))


def _little_endian(values: npt.NDArray[np.generic]) -> Buffer:
    """Return an array's bytes in the protocol's order, without a copy where possible."""
    if sys.byteorder != "little":
        values = values.astype(values.dtype.newbyteorder("<"))
    contiguous: Any = values
    return (
        contiguous.data.cast("B") if values.size and values.flags.c_contiguous else values.tobytes()
    )
