"""Where the JSON of a body ends and its tensors' bytes begin (Triton's binary tensor data)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from runtime.errors import RequestError
from runtime.serving.protocol.inputs import Binary

if TYPE_CHECKING:
    from runtime.serving.http.message import Buffer

LENGTH_FIELD: Final = b"inference-header-content-length"
_MOST_DIGITS: Final = 18


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
