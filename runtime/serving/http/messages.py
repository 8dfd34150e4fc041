"""HTTP requests and responses, and the encoding of a response's head."""

from __future__ import annotations

from collections.abc import Callable
from http import HTTPStatus
from typing import Final

import msgspec

from runtime.value import Value

JSON: Final = b"application/json"
BINARY: Final = b"application/octet-stream"

RETRY_AFTER: Final = ((b"retry-after", b"1"),)  # seconds
CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"
_STATUS_LINES: Final = {
    status.value: f"HTTP/1.1 {status.value} {status.phrase}\r\n".encode() for status in HTTPStatus
}
_CLOSE: Final = b"connection: close\r\n"

Buffer = bytes | bytearray | memoryview
Header = tuple[bytes, bytes]


class Request(Value, frozen=True, gc=False):
    """A complete request.

    Attributes:
        method: in capitals, as sent.
        target: path and query, as sent.
        headers: values by name in lower case.
        body: as sent; empty where there is none.
        received_ns: ``time.perf_counter_ns`` when its last byte arrived.
    """

    method: str
    target: str
    headers: dict[bytes, bytes]
    body: bytes | bytearray
    received_ns: int


class Response(Value, frozen=True, gc=False):
    """A response.

    Attributes:
        status: 200 to 599.
        body: pieces, sent one after the other without being joined.
        media_type: of the body.
        headers: further header fields, names in lower case.
    """

    status: int = 200
    body: tuple[Buffer, ...] = ()
    media_type: bytes = JSON
    headers: tuple[Header, ...] = ()


Reply = Callable[[Response], None]
Handle = Callable[[Request, Reply], None]


def json_response(values: object, status: int = 200, headers: tuple[Header, ...] = ()) -> Response:
    """Return a JSON response."""
    return Response(status, (msgspec.json.encode(values),), JSON, headers)


def error_response(status: int, message: str, headers: tuple[Header, ...] = ()) -> Response:
    """Return ``{"error": message}``, the error format of the Open Inference Protocol."""
    return json_response({"error": message}, status, headers)


def encode_head(response: Response, date: bytes, *, close: bool) -> bytes:
    """Encode the status line and header fields; ``date`` is the whole ``date`` line."""
    extra = b"".join([b"%b: %b\r\n" % field for field in response.headers])
    return b"%bcontent-type: %b\r\ncontent-length: %d\r\n%b%b%b\r\n" % (
        _STATUS_LINES[response.status],
        response.media_type,
        sum(map(_size, response.body)),
        date,
        extra,
        _CLOSE if close else b"",
    )


def _size(piece: Buffer) -> int:
    return piece.nbytes if isinstance(piece, memoryview) else len(piece)
