"""HTTP requests and responses: the buffer of a body, the head, responses to errors."""

from __future__ import annotations

from collections.abc import Callable
from http import HTTPStatus
from typing import Final

import msgspec

from runtime.errors import (
    BadRowsError,
    BodyError,
    DataError,
    MediaError,
    OnnxferryError,
    OverloadError,
    OversizeError,
    RequestError,
    SchemaError,
    UnavailableError,
    UnknownNameError,
)
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
        reason: of an error, in a few words that are the same for all of its kind; for the log.
    """

    status: int = 200
    body: tuple[Buffer, ...] = ()
    media_type: bytes = JSON
    headers: tuple[Header, ...] = ()
    reason: str = ""


Reply = Callable[[Response], None]
Handle = Callable[[Request, Reply], None]


def json_response(values: object, status: int = 200, headers: tuple[Header, ...] = ()) -> Response:
    """Return a JSON response."""
    return Response(status, (msgspec.json.encode(values),), JSON, headers)


def error_response(
    status: int, message: str, headers: tuple[Header, ...] = (), reason: str = ""
) -> Response:
    """Return ``{"error": message}``, the error format of the Open Inference Protocol.

    Without a ``reason`` it is that of the status in RFC 9110.
    """
    body = msgspec.json.encode({"error": message})
    return Response(status, (body,), JSON, headers, reason or HTTPStatus(status).phrase.lower())


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


_INITIAL_BYTES: Final = 256 * 1024  # allocated at once for a body of announced length


class BodyBuffer:
    """A body of known length that the socket writes into; grows as bytes arrive.

    Attributes:
        content: the body, complete once ``is_complete``.
        filled: bytes received.
    """

    __slots__ = ("_length", "content", "filled")

    def __init__(self, received: Buffer, length: int) -> None:
        """Begin with the ``received`` bytes of a body of ``length``."""
        self._length, self.filled = length, len(received)
        self.content = bytearray(min(len(received) + _INITIAL_BYTES, length))
        self.content[: len(received)] = received

    @property
    def is_complete(self) -> bool:
        """Whether all bytes were received."""
        return self.filled == self._length

    def free(self) -> memoryview:
        """Return the free part, which at most doubles the buffer, whatever length was announced."""
        if self.filled == len(self.content):
            self.content += bytes(min(self.filled, self._length - self.filled))
        return memoryview(self.content)[self.filled :]


# Status and reason; the first match counts, 500 for any other error.
_STATUSES: Final[tuple[tuple[type[OnnxferryError], int, str], ...]] = (
    (BodyError, 400, "malformed body"),
    (UnknownNameError, 404, "unknown model"),
    (OversizeError, 413, "too large"),
    (MediaError, 415, "media type"),
    (RequestError, 400, "invalid request"),
    (BadRowsError, 400, "bad rows"),
    (SchemaError, 400, "other columns"),
    (DataError, 400, "invalid table"),
    (OverloadError, 503, "overload"),
    (UnavailableError, 503, "unavailable"),
    (OnnxferryError, 500, "model failed"),
)
_UNAVAILABLE: Final = 503
_SERVER_ERROR: Final = 500
INTERNAL_ERROR: Final = "internal server error; see the server's log"


def exception_response(error: OnnxferryError) -> Response:
    """Return the response to an error: 4xx where the client can fix it, else 5xx."""
    found = next(one for one in _STATUSES if isinstance(error, one[0]))
    _, status, reason = found
    return error_response(status, str(error), RETRY_AFTER if status == _UNAVAILABLE else (), reason)


def internal_error_response() -> Response:
    """Return the response to a bug."""
    return error_response(_SERVER_ERROR, INTERNAL_ERROR, reason="internal error")
