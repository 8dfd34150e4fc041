"""One HTTP request and one answer, and how an answer's head is written.

No errors: what cannot be understood never becomes a ``Request``.
"""

from __future__ import annotations

from collections.abc import Callable
from http import HTTPStatus
from typing import Final

import msgspec

from runtime.value import Value

JSON: Final = b"application/json"
BINARY: Final = b"application/octet-stream"
TEXT: Final = b"text/plain; charset=utf-8"

CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"
_STATUS_LINES: Final = {
    status.value: f"HTTP/1.1 {status.value} {status.phrase}\r\n".encode() for status in HTTPStatus
}
_CLOSE: Final = b"connection: close\r\n"

Buffer = bytes | bytearray | memoryview
Header = tuple[bytes, bytes]


class Request(Value, frozen=True, gc=False):
    """A request, whole.

    Attributes:
        method: in capitals, as sent.
        target: path and query, as sent.
        headers: values by name in lower case.
        body: as sent; empty where there is none.
        arrived: nanoseconds of ``time.perf_counter_ns`` when its last byte was there.
    """

    method: str
    target: str
    headers: dict[bytes, bytes]
    body: bytes | bytearray
    arrived: int


class Response(Value, frozen=True, gc=False):
    """An answer.

    Attributes:
        status: 200 to 599.
        body: pieces, sent one after the other without being joined.
        kind: the media type.
        headers: further fields, names in lower case.
    """

    status: int = 200
    body: tuple[Buffer, ...] = ()
    kind: bytes = JSON
    headers: tuple[Header, ...] = ()


Reply = Callable[[Response], None]
Handle = Callable[[Request, Reply], None]


def json_response(values: object, status: int = 200, headers: tuple[Header, ...] = ()) -> Response:
    """Answer with JSON."""
    return Response(status, (msgspec.json.encode(values),), JSON, headers)


def refusal(status: int, message: str, headers: tuple[Header, ...] = ()) -> Response:
    """Answer that a request is refused, in the words of the Open Inference Protocol.

    Args:
        status: 400 to 599.
        message: what is wrong, where, and what to do.
        headers: further fields.

    Returns:
        ``{"error": message}``.
    """
    return json_response({"error": message}, status, headers)


def encode_head(response: Response, date: bytes, *, close: bool) -> bytes:
    """Write an answer's status line and header.

    Args:
        response: the answer.
        date: the line of the field ``date``.
        close: say that the connection ends here.

    Returns:
        Everything before the body.
    """
    more = b"".join([b"%b: %b\r\n" % field for field in response.headers])
    return b"%bcontent-type: %b\r\ncontent-length: %d\r\n%b%b%b\r\n" % (
        _STATUS_LINES[response.status],
        response.kind,
        sum(map(_size, response.body)),
        date,
        more,
        _CLOSE if close else b"",
    )


def _size(piece: Buffer) -> int:
    return piece.nbytes if isinstance(piece, memoryview) else len(piece)
