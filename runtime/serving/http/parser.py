"""Parse HTTP/1.1 requests from the bytes of one connection (RFC 9112), with httptools.

A large body of known length is received straight into the buffer that becomes the request's body.
"""

from __future__ import annotations

import time
from enum import IntEnum
from typing import TYPE_CHECKING, Final, Protocol

import httptools

from runtime.serving.http.head import (
    HeadCache,
    HeadError,
    ParsedHead,
    cut_head,
    exceeds_head_limits,
    head_too_large,
    validate_head,
)
from runtime.serving.http.messages import BodyBuffer, Request
from runtime.surfaces import server_option

if TYPE_CHECKING:
    from runtime.serving.http.messages import Buffer
    from runtime.serving.settings import Limits

_NO_MEMORY: Final = "too many bodies are being received; try again in a second"
_IN_PLACE_BYTES: Final = 16 * 1024  # of a body that are missing, at least, to receive them in place
_EXCESSIVE_FRAMING: Final = (
    "chunk extensions and trailer fields are larger than the body allows; leave them out"
)
_BYTES_PER_CHUNKED_BYTE: Final = 16  # framing allowed; chunks of one byte need 6
_CHUNKED_HEAD: Final = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"


class Phase(IntEnum):
    """How much of the current request has been received."""

    IDLE = 0
    HEAD = 1
    BODY = 2


class RequestSink(Protocol):
    """Receives the parsed requests; implemented by the connection."""

    def on_request(self, request: Request, *, keep_alive: bool) -> None:
        """Handle a complete request."""

    def on_error(self, status: int, message: str) -> None:
        """Respond with an error; nothing after it is parsed."""

    def send_continue(self) -> None:
        """Send ``100 Continue``."""

    def reserve(self, size: int) -> bool:
        """Reserve memory for bytes of a body, released with the response."""


class RequestParser:
    """Parses the requests of one connection, one after the other."""

    __slots__ = (
        "_body",
        "_buffer",
        "_cache",
        "_expected",
        "_failed",
        "_fields",
        "_headers",
        "_keep_alive",
        "_limits",
        "_messages",
        "_method",
        "_parser",
        "_received",
        "_sink",
        "_skips_head",
        "_target",
        "phase",
    )

    def __init__(self, limits: Limits, sink: RequestSink, cache: HeadCache | None = None) -> None:
        """Report to ``sink``; ``cache`` is a new one by default."""
        self._limits, self._sink = limits, sink
        self._cache = cache or HeadCache()
        self._parser = httptools.HttpRequestParser(self)
        self.phase = Phase.IDLE
        self._failed = self._skips_head = False
        self._buffer: BodyBuffer | None = None
        self._received = self._messages = 0
        self._reset()

    def _reset(self) -> None:
        self._target = b""
        self._fields: list[tuple[bytes, bytes]] = []
        self._headers: dict[bytes, bytes] = {}
        self._body: bytes | bytearray = b""
        self._expected: int | None = None
        self._keep_alive = False
        self._method = ""

    # ---- Called by the connection ------------------------------------------------------------

    @property
    def headers(self) -> dict[bytes, bytes]:
        """The header fields of the current request, by name in lower case; empty before its end."""
        return self._headers

    def get_buffer(self, shared: memoryview) -> memoryview:
        """Return the memory to receive into: ``shared``, or the rest of a large body."""
        if self._buffer is None:
            return shared
        try:
            return self._buffer.free()
        except MemoryError:
            self._fail(503, _NO_MEMORY)
            return shared

    def buffer_updated(self, size: int, shared: memoryview) -> None:
        """Parse ``size`` bytes that were written to ``get_buffer``."""
        if self._failed:
            return
        buffer = self._buffer
        if buffer is None:
            self._feed(shared[:size])
            return
        buffer.filled += size
        if self._reserve(size) and buffer.is_complete:
            self._buffer = None
            self._parser = httptools.HttpRequestParser(self)  # the old one expects the body
            self._emit(buffer.content)

    def eof_received(self) -> None:
        """Reject an incomplete request: the client sends no more."""
        if self.phase == Phase.IDLE or self._failed:
            return
        if self.phase == Phase.HEAD:
            self._fail(400, "the request ended within its header; send it again")
            return
        received = len(self._body) if self._buffer is None else self._buffer.filled
        total = "" if self._expected is None else f" of {self._expected}"
        self._fail(400, f"the body ended after {received}{total} bytes; send it whole")

    # ---- Parsing -----------------------------------------------------------------------------

    def _feed(self, data: memoryview) -> None:
        while len(data) and not self._failed:
            head = b""
            while self.phase == Phase.IDLE and len(data):
                head = cut_head(data)
                cached = self._cache.get(head)
                if cached is None:
                    break
                data = self._begin_cached(cached, data[len(head) :])
            if not len(data) or self._failed:
                return
            data = self._parse(data, head if self.phase == Phase.IDLE else b"")

    def _begin_cached(self, head: ParsedHead, data: memoryview) -> memoryview:
        """Begin a request with a cached head; return the bytes after its body."""
        self._method, self._target, self._headers = head.method, head.target, head.headers
        self._keep_alive, self._expected = True, head.content_length
        size = min(head.content_length, len(data))
        if not self._reserve(size):
            return data[:0]
        if size == head.content_length:
            self._emit(bytes(data[:size]))
        else:
            self.phase = Phase.BODY
            self._allocate(data)
        return data[size:]

    def _parse(self, data: memoryview, head: bytes) -> memoryview:
        """Feed httptools, a new head on its own so that it can be cached.

        Returns the bytes behind a request with an Upgrade field, where httptools stops.
        """
        rest = data[:0]
        self._received += len(data)
        self._messages = start = 0
        try:
            if head:
                self._parser.feed_data(head)
                self._cache_head(head)
            if len(data) > len(head) and not self._failed:
                start = len(head)
                self._parser.feed_data(data[start:])
        except httptools.HttpParserUpgrade as exc:  # ignored, as RFC 9110, 7.8 allows
            self._parser = httptools.HttpRequestParser(self)
            rest = self._ignore_upgrade(data[start + exc.args[0] :])
        except httptools.HttpParserError as exc:
            self._fail(400, f"not an HTTP/1.1 request: {exc}")
        if self._failed:
            return rest
        if self.phase == Phase.HEAD and self._received > self._limits.header_bytes:
            self._fail_for(head_too_large(self._limits))
        elif self._has_excessive_framing():
            self._fail(413, _EXCESSIVE_FRAMING)
        elif self.phase == Phase.BODY and self._buffer is None and self._expected is not None:
            self._receive_in_place(self._expected)
        return rest

    def _cache_head(self, head: bytes) -> None:
        """Cache a head if it is exactly one, and a body of known length follows."""
        length, headers = self._expected, self._headers
        if self.phase != Phase.BODY or self._messages != 1 or self._body or self._failed:
            return
        if length and self._keep_alive and b"expect" not in headers:
            self._cache.put(head, ParsedHead(self._method, self._target, headers, length))

    def _has_excessive_framing(self) -> bool:
        """Return whether chunk extensions and trailer fields exceed their share of the body."""
        if self.phase != Phase.BODY or self._expected is not None:
            return False
        return self._received > self._limits.header_bytes + _BYTES_PER_CHUNKED_BYTE * len(
            self._body
        )

    def _ignore_upgrade(self, data: memoryview) -> memoryview:
        """Read the body that httptools leaves unparsed behind an Upgrade field; return the rest."""
        if self.phase != Phase.BODY or self._failed:
            return data
        if self._is_chunked:
            self._skips_head = True  # the head was validated; this one is for httptools alone
            self._parser.feed_data(_CHUNKED_HEAD)
            self._skips_head = False
            return data
        self._expected = self._expected or 0
        size = min(self._expected, len(data))
        self._allocate(data[:size])
        if self._buffer:
            self._buffer.filled = 0
            self.buffer_updated(size, data)
        return data[size:]

    def _receive_in_place(self, expected: int) -> None:
        if expected - len(self._body) >= _IN_PLACE_BYTES:
            self._allocate(self._body)

    def _allocate(self, received: Buffer) -> None:
        self._body = b""
        try:
            self._buffer = BodyBuffer(received, self._expected or 0)
        except MemoryError:
            self._fail(503, _NO_MEMORY)

    def _fail(self, status: int, message: str) -> None:
        if not self._failed:
            self._failed = True
            self._buffer = None
            self._body = b""
            self._sink.on_error(status, message)

    def _fail_for(self, error: HeadError) -> None:
        self._fail(error.status, error.message)

    @property
    def _is_chunked(self) -> bool:
        return self._expected is None and b"transfer-encoding" in self._headers

    # ---- Called by httptools -----------------------------------------------------------------

    def on_message_begin(self) -> None:
        """Begin a request."""
        if self._skips_head:
            return
        self.phase = Phase.HEAD
        self._messages += 1
        self._reset()

    def on_url(self, url: bytes) -> None:
        """Append a piece of the target."""
        if self._skips_head:
            return
        self._target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        """Append a header field; trailer fields are dropped."""
        if self.phase == Phase.HEAD:
            self._fields.append((name, value))

    def on_headers_complete(self) -> None:
        """Validate the head and decide whether the body is read."""
        if self._failed or self._skips_head:
            return
        fed, self.phase, self._received = self._received, Phase.BODY, 0
        self._method = self._parser.get_method().decode("ascii")
        version = self._parser.get_http_version()
        # HTTP/1.0 would need Connection: keep-alive in the response.
        self._keep_alive = self._parser.should_keep_alive() and version == "1.1"
        fields, limits = self._fields, self._limits
        headers = self._headers = {name.lower(): value for name, value in fields}
        if exceeds_head_limits(self._target, fields, fed, limits):
            self._fail_for(head_too_large(limits))
        elif error := validate_head(self._method, version, fields, headers):
            self._fail_for(error)
        elif self._expects_continue(headers) and version == "1.1":
            self._sink.send_continue()

    def _expects_continue(self, headers: dict[bytes, bytes]) -> bool:
        """Read the body's length; return whether the client waits for ``100 Continue``."""
        length = headers.get(b"content-length")
        has_body = b"transfer-encoding" in headers
        if length is not None and not has_body:
            self._expected = int(length)
            has_body = self._expected > 0
            if not self._check_size(self._expected):
                return False
        return has_body and b"expect" in headers

    def _check_size(self, size: int) -> bool:
        if size > self._limits.body_bytes:
            self._fail(
                413,
                f"the body is larger than {self._limits.body_bytes} bytes; send it in parts, or "
                f"raise {server_option('max_body')}",
            )
        return not self._failed

    def _reserve(self, size: int) -> bool:
        """Reserve memory for bytes that were received; announced ones reserve nothing."""
        if not self._sink.reserve(size):
            self._fail(503, _NO_MEMORY)
        return not self._failed

    def on_body(self, body: bytes) -> None:
        """Append a piece of the body."""
        if self._failed:
            return
        # Chunked: the length is unknown until the end.
        if self._expected is None and not self._check_size(len(self._body) + len(body)):
            return
        if not self._reserve(len(body)):
            return
        if not self._body:
            self._body = body
            return
        if isinstance(self._body, bytes):  # grows in place, so many chunks stay linear
            self._body = bytearray(self._body)
        self._body += body

    def on_message_complete(self) -> None:
        """Emit the request."""
        if self._failed or self._parser.should_upgrade():
            return  # the latter leaves the body unparsed: see _ignore_upgrade
        self._emit(self._body)

    def _emit(self, body: bytes | bytearray) -> None:
        self.phase, self._received = Phase.IDLE, 0
        request = Request(
            self._method,
            self._target.decode("latin-1"),
            self._headers,
            body,
            time.perf_counter_ns(),
        )
        self._body = b""
        self._sink.on_request(request, keep_alive=self._keep_alive)
