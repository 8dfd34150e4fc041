"""Where the JSON of a body ends and its tensors' bytes begin (Triton's binary tensor data)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from msgspec import Raw

from runtime.errors import RequestError
from runtime.serving.http.message import BINARY, JSON
from runtime.serving.protocol.columns import FEATURES
from runtime.serving.protocol.inputs import BINARY_SIZE, Binary
from runtime.serving.protocol.messages import InferenceRequest, InputTensor

if TYPE_CHECKING:
    from runtime.serving.http.message import Buffer, Request
    from runtime.serving.protocol.columns import Columns

LENGTH_FIELD: Final = b"inference-header-content-length"
NO_JSON: Final = b"0"  # as a length: the body is one tensor and nothing else
_MOST_DIGITS: Final = 18
_FLOAT_BYTES: Final = 4


def split_body(body: bytes | bytearray, length: bytes | None) -> tuple[Buffer, Binary]:
    """Split a body.

    Args:
        body: of the request.
        length: value of the header field that says how long the JSON is; None where it is not
            there, and all is JSON.

    Returns:
        The JSON, and what follows it.

    Raises:
        RequestError: when the length is no number, or more than the body has.
    """
    if length is None:
        return body, Binary(body, len(body))
    if not length.isdigit() or len(length) > _MOST_DIGITS or int(length) > len(body):
        raise RequestError(
            f"the header field Inference-Header-Content-Length is {length.decode('latin-1')!r}; "
            f"it is the length of the JSON, at most the {len(body)} bytes of the body"
        )
    return body[: int(length)], Binary(body, int(length))


def raw_request(request: Request, columns: Columns) -> InferenceRequest:
    """Say what a body without JSON asks for (Triton's raw binary request).

    Args:
        request: whose body is numbers alone.
        columns: of the model.

    Returns:
        All columns in one FP32 tensor, as many rows as there are; all outputs as bytes.

    Raises:
        RequestError: when the body cannot be that.
    """
    if request.headers.get(b"content-type", b"").lower().startswith(JSON):
        raise RequestError(
            "Inference-Header-Content-Length is 0, so the body has no JSON, and Content-Type says "
            f"that it is; send {BINARY.decode()}, or the length of the JSON"
        )
    width, size = columns.schema.n_inputs, len(request.body)
    rows, rest = divmod(size, _FLOAT_BYTES * width)
    if columns.texts or rest or not rows:
        raise RequestError(
            "Inference-Header-Content-Length is 0: then the body is numbers alone, "
            f"{width} FP32 a row, and it has {size} bytes"
            + ("; this model has columns of text: send JSON" if columns.texts else "")
        )
    tensor = InputTensor(FEATURES, Raw(b"[%d,%d]" % (rows, width)), "FP32", {BINARY_SIZE: size})
    return InferenceRequest([tensor], parameters={"binary_data_output": True})
