"""Which outputs a request asks for, and how they are sent: as JSON or as bytes.

In: a request's wishes and the model's outputs. Out: the pieces of a body. Raises
``RequestError`` for an output that is not there.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, Final

import orjson

from runtime.errors import RequestError
from runtime.serving.http.message import BINARY, Buffer, Response
from runtime.value import Value

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from runtime.serving.protocol.messages import InferenceRequest, Parameters
    from runtime.session import Outputs

DATATYPES: Final = {"label": "INT64", "probabilities": "FP32", "logits": "FP32"}
_ALL: Final = tuple((name, False) for name in DATATYPES)
_ALL_BINARY: Final = tuple((name, True) for name in DATATYPES)
_NOT_OFFERED: Final = ("classification", "shared_memory_region")


class Wanted(Value, frozen=True, gc=False):
    """What an answer holds.

    Attributes:
        id: of the request, which comes back with the answer; None where it has none.
        outputs: names in order, and whether each is sent as bytes.
    """

    id: str | None
    outputs: tuple[tuple[str, bool], ...]


def parse_wishes(request: InferenceRequest) -> Wanted:
    """Read which outputs are asked for.

    Args:
        request: the messages.

    Returns:
        The outputs; all of them where none is named.

    Raises:
        RequestError: for an output that is unknown, doubled, or wanted in a way not offered.
    """
    binary = _flag(request.parameters or {}, "binary_data_output", "parameters") or False
    name = request.id or None
    if not request.outputs:
        return Wanted(name, _ALL_BINARY if binary else _ALL)
    found: dict[str, bool] = {}
    for at, wish in enumerate(request.outputs):
        where, parameters = f"outputs[{at}]", wish.parameters or {}
        if wish.name not in DATATYPES:
            raise RequestError(
                f"{where}: no output {wish.name!r}; there are {', '.join(DATATYPES)}"
            )
        if wish.name in found:
            raise RequestError(f"{where}: {wish.name!r} is asked for twice")
        for word in _NOT_OFFERED:
            if word in parameters:
                raise RequestError(f"{where}: {word} is not offered; leave it out")
        own = _flag(parameters, "binary_data", where)
        found[wish.name] = binary if own is None else own
    return Wanted(name, tuple(found.items()))


def _flag(parameters: Parameters, name: str, where: str) -> bool | None:
    value = parameters.get(name)
    if value is None or isinstance(value, bool):
        return value
    raise RequestError(f"{where}: {name} is {value!r}; it is true or false")


def encode_answer(wanted: Wanted, answer: Outputs, model: dict[str, str]) -> Response:
    """Write an answer.

    Args:
        wanted: which outputs, and how.
        answer: the model's outputs for the rows of this request.
        model: ``model_name`` and ``model_version``.

    Returns:
        JSON, followed by the outputs that are sent as bytes.
    """
    tensors, pieces = [], []
    for name, binary in wanted.outputs:
        values = getattr(answer, name)
        tensor = {"name": name, "datatype": DATATYPES[name], "shape": values.shape}
        if binary:
            tensor["parameters"] = {"binary_data_size": values.nbytes}
            pieces.append(_little_endian(values))
        else:
            tensor["data"] = values.reshape(-1)
        tensors.append(tensor)
    known = model if wanted.id is None else {**model, "id": wanted.id}
    text = orjson.dumps({**known, "outputs": tensors}, option=orjson.OPT_SERIALIZE_NUMPY)
    if not pieces:
        return Response(200, (text,))
    length = (b"inference-header-content-length", b"%d" % len(text))
    return Response(200, (text, *pieces), BINARY, (length,))


def _little_endian(values: npt.NDArray[np.generic]) -> Buffer:
    """Give an array's bytes as the protocol wants them, in place where they are so already."""
    if sys.byteorder != "little":
        values = values.astype(values.dtype.newbyteorder("<"))
    contiguous: Any = values
    return (
        contiguous.data.cast("B") if values.size and values.flags.c_contiguous else values.tobytes()
    )
