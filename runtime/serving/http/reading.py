"""Read requests from the bytes of one connection (RFC 9112).

httptools parses heads that are new to a connection, and the bodies behind them. A large body of
known length is received straight into the memory it stays in: the socket writes there, nothing
copies it again. In: bytes, as they come. Out: whole requests to ``take``, and at most one refusal
to ``refuse``, after which nothing is read any more.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

import httptools

from runtime.serving.http.direct import DirectBody
from runtime.serving.http.head import Fault, find_fault, is_too_large, too_large
from runtime.serving.http.known import Head, KnownHeads, cut_head
from runtime.serving.http.message import Request
from runtime.serving.http.taker import Phase

if TYPE_CHECKING:
    from runtime.serving.http.message import Buffer
    from runtime.serving.http.taker import Taker
    from runtime.serving.limits import Limits

_FULL: Final = "too many bodies are being received; try again in a second"
_DIRECT_BYTES: Final = 16 * 1024  # what is still missing of a body, to receive it in its place
_PADDED: Final = (
    "the chunks' extensions and the trailer are larger than what they belong to; leave them out"
)
_CHUNK_BYTES: Final = 16  # that a byte of a chunked body may come with: chunks of one byte need 6


class RequestReader:
    """Reads one connection's requests, one after the other."""

    __slots__ = (
        "_begun",
        "_body",
        "_direct",
        "_expected",
        "_fed",
        "_fields",
        "_headers",
        "_keep_alive",
        "_known",
        "_limits",
        "_method",
        "_parser",
        "_refused",
        "_taker",
        "_target",
        "phase",
    )

    def __init__(self, limits: Limits, taker: Taker, known: KnownHeads | None = None) -> None:
        """Wait for a first request.

        Args:
            limits: how much a request may be.
            taker: takes requests and refusals.
            known: keeps heads; new where it is None.
        """
        self._limits, self._taker = limits, taker
        self._parser = httptools.HttpRequestParser(self)
        self.phase = Phase.IDLE
        self._refused = False
        self._direct: DirectBody | None = None
        self._fed = 0
        self._begun = 0
        self._known = known or KnownHeads()
        self._start()

    def _start(self) -> None:
        self._target = b""
        self._fields: list[tuple[bytes, bytes]] = []
        self._headers: dict[bytes, bytes] = {}
        self._body: bytes | bytearray = b""
        self._expected: int | None = None
        self._keep_alive = False
        self._method = ""

    def room(self, shared: memoryview) -> memoryview:
        """Give the memory that the next bytes go to.

        Args:
            shared: for heads and small bodies; read at once, so all connections may share it.

        Returns:
            That, or what is missing of a large body.
        """
        if self._direct is None:
            return shared
        try:
            return self._direct.room()
        except MemoryError:
            self._refuse(503, _FULL)
            return shared

    def received(self, size: int, shared: memoryview) -> None:
        """Read bytes that have come.

        Args:
            size: how many were written to ``room``.
            shared: as in ``room``.
        """
        if self._refused:
            return
        if self._direct is None:
            self._feed(shared[:size])
            return
        direct = self._direct
        direct.filled += size
        if self._has_room(size) and direct.is_whole:
            self._direct = None
            self._parser = httptools.HttpRequestParser(self)  # the old one waits for the body
            self._finish(direct.content)

    def ended(self) -> None:
        """Note that the client sends no more; half a request is refused."""
        if self.phase == Phase.IDLE or self._refused:
            return
        if self.phase == Phase.HEAD:
            self._refuse(400, "the request ended within its header; send it again")
            return
        have = len(self._body) if self._direct is None else self._direct.filled
        told = "" if self._expected is None else f" of {self._expected}"
        self._refuse(400, f"the body ended after {have}{told} bytes; send it whole")

    def _feed(self, data: memoryview) -> None:
        head = b""
        while self.phase == Phase.IDLE and len(data):
            head = cut_head(data)
            known = self._known.find(head)
            if known is None:
                break
            data = self._take_known(known, data[len(head) :])
        if len(data) and not self._refused:
            self._parse(data, head if self.phase == Phase.IDLE else b"")

    def _take_known(self, head: Head, data: memoryview) -> memoryview:
        """Take the body behind a known head, or what has come of it; give back what follows."""
        self._method, self._target, self._headers = head.method, head.target, head.headers
        self._keep_alive, self._expected = True, head.length
        size = min(head.length, len(data))
        if not self._has_room(size):
            return data[:0]
        if size == head.length:
            self._finish(bytes(data[:size]))
        else:
            self.phase = Phase.BODY
            self._begin_direct(data)
        return data[size:]

    def _parse(self, data: memoryview, head: bytes) -> None:
        """Have the parser read what has come, a new head by itself: so it is known later on."""
        self._fed += len(data)
        self._begun = at = 0
        try:
            if head:
                self._parser.feed_data(head)
                self._learn(head)
            if len(data) > len(head) and not self._refused:
                at = len(head)
                self._parser.feed_data(data[at:])
        except httptools.HttpParserUpgrade as exc:  # nothing else is spoken here: RFC 9110, 7.8
            self._parser = httptools.HttpRequestParser(self)
            self._take_up(data[at + exc.args[0] :])
        except httptools.HttpParserError as exc:
            self._refuse(400, f"this is no HTTP/1.1 request: {exc}")
        if self._refused:
            return
        if self.phase == Phase.HEAD and self._fed > self._limits.header_bytes:
            self._refuse_for(too_large(self._limits))
        elif self._is_padded():
            self._refuse(413, _PADDED)
        elif self.phase == Phase.BODY and self._direct is None and self._expected is not None:
            self._receive_in_place(self._expected)

    def _is_padded(self) -> bool:
        """Tell whether a chunked body came with far more beside it than chunks need.

        Extensions and trailers are read and dropped, so they count nowhere else.
        """
        if self.phase != Phase.BODY or self._expected is not None:
            return False
        return self._fed > self._limits.header_bytes + _CHUNK_BYTES * len(self._body)

    def _learn(self, text: bytes) -> None:
        """Keep a head, and nothing but a whole head, behind which a body of known length comes."""
        length, headers = self._expected, self._headers
        if self.phase != Phase.BODY or self._begun != 1 or self._body or self._refused:
            return
        if length and self._keep_alive and b"expect" not in headers:
            self._known.keep(text, Head(self._method, self._target, headers, length))

    def _take_up(self, data: memoryview) -> None:
        """Read on where the parser stops: behind a header that offers another protocol."""
        if self.phase == Phase.BODY and not self._refused:
            self._expected = self._expected or 0
            size = min(self._expected, len(data))
            self._begin_direct(data[:size])
            if self._direct:
                self._direct.filled = 0
                self.received(size, data)
            data = data[size:]
        if len(data):
            self._feed(data)

    def _receive_in_place(self, expected: int) -> None:
        """Have the rest of a large body written to where it stays."""
        if expected - len(self._body) >= _DIRECT_BYTES:
            self._begin_direct(self._body)

    def _begin_direct(self, have: Buffer) -> None:
        """Go on with a body where its first bytes have been read."""
        self._body = b""
        try:
            self._direct = DirectBody(have, self._expected or 0)
        except MemoryError:
            self._refuse(503, _FULL)

    def _refuse(self, status: int, message: str) -> None:
        if not self._refused:
            self._refused = True
            self._direct = None
            self._body = b""
            self._taker.refuse(status, message)

    def _refuse_for(self, fault: Fault) -> None:
        self._refuse(fault.status, fault.message)

    # ---- What the parser calls ---------------------------------------------------------------

    def on_message_begin(self) -> None:
        """Begin a request."""
        self.phase = Phase.HEAD
        self._begun += 1
        self._start()

    def on_url(self, url: bytes) -> None:
        """Take a piece of the target."""
        self._target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a field; those after a chunked body are dropped."""
        if self.phase == Phase.HEAD:
            self._fields.append((name, value))

    def on_headers_complete(self) -> None:
        """Decide by the header whether the body is read."""
        if self._refused:
            return
        fed, self.phase, self._fed = self._fed, Phase.BODY, 0
        self._method = self._parser.get_method().decode("ascii")
        version = self._parser.get_http_version()
        # An old client would have to be told that its connection goes on.
        self._keep_alive = self._parser.should_keep_alive() and version == "1.1"
        fields, limits = self._fields, self._limits
        headers = self._headers = {name.lower(): value for name, value in fields}
        if is_too_large(self._target, fields, fed, limits):
            self._refuse_for(too_large(limits))
        elif fault := find_fault(self._method, version, fields, headers):
            self._refuse_for(fault)
        elif self._awaits_a_word(headers) and version == "1.1":
            self._taker.go_on()

    def _awaits_a_word(self, headers: dict[bytes, bytes]) -> bool:
        """Learn how large the body is; tell whether the client waits for leave to send it."""
        length = headers.get(b"content-length")
        has_body = b"transfer-encoding" in headers
        if length is not None and not has_body:
            self._expected = int(length)
            has_body = self._expected > 0
            if not self._is_allowed(self._expected):
                return False
        return has_body and b"expect" in headers

    def _is_allowed(self, size: int) -> bool:
        if size > self._limits.body_bytes:
            self._refuse(
                413,
                f"the body is larger than {self._limits.body_bytes} bytes; send it in parts, or "
                "raise --max-body",
            )
        return not self._refused

    def _has_room(self, size: int) -> bool:
        """Count bytes that have come; what was only announced takes nobody's room."""
        if not self._taker.reserve(size):
            self._refuse(503, _FULL)
        return not self._refused

    def on_body(self, body: bytes) -> None:
        """Take a piece of the body."""
        if self._refused:
            return
        # Chunked: nobody knows how much will come.
        if self._expected is None and not self._is_allowed(len(self._body) + len(body)):
            return
        if not self._has_room(len(body)):
            return
        if not self._body:
            self._body = body
            return
        if isinstance(self._body, bytes):  # grows in place: a million chunks cost no more than one
            self._body = bytearray(self._body)
        self._body += body

    def on_message_complete(self) -> None:
        """Hand a request on."""
        if self._refused:
            return
        if not self._parser.should_upgrade():
            self._finish(self._body)
        elif self._expected is None and b"transfer-encoding" in self._headers:
            self._refuse(501, "a chunked body and the header field Upgrade do not go together")
        # else the parser has left the body to us: see _take_up

    def _finish(self, body: bytes | bytearray) -> None:
        self.phase, self._fed = Phase.IDLE, 0
        request = Request(
            self._method,
            self._target.decode("latin-1"),
            self._headers,
            body,
            time.perf_counter_ns(),
        )
        self._body = b""
        self._taker.take(request, keep_alive=self._keep_alive)
