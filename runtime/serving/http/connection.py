"""One client connection: received bytes become requests, responses go out in request order."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from math import inf
from typing import TYPE_CHECKING, Final, cast

from msgspec.structs import replace

from runtime.serving.http.messages import (
    CONTINUE,
    RETRY_AFTER,
    Request,
    Response,
    encode_head,
    error_response,
    internal_error_response,
)
from runtime.serving.http.parser import Phase, RequestParser

if TYPE_CHECKING:
    from runtime.serving.http.connections import ConnectionManager

_LINGER_S: Final = 0.5  # keep reading after the last response: a reset would discard it
_SMALL_BYTES: Final = 16 * 1024  # joined to its head: one write instead of two
_INTERIM: Final = 100
_ERROR: Final = 400
_BACKOFF_S: Final = 0.1  # a rejected client is not read from for this long


class Exchange:
    """A dispatched request and its response.

    Attributes:
        keep_alive: another request may follow.
        is_head: the response's body is not sent.
        response: None while pending.
        held_bytes: of the request's body, reserved until the response is sent.
        request: None where it could not be parsed.
    """

    __slots__ = ("_connection", "held_bytes", "is_head", "keep_alive", "request", "response")

    def __init__(
        self,
        connection: Connection,
        request: Request | None = None,
        *,
        keep_alive: bool,
        is_head: bool,
    ) -> None:
        """Expect a response to a request of ``connection``."""
        self._connection, self.request = connection, request
        self.keep_alive, self.is_head = keep_alive, is_head
        self.response: Response | None = None
        self.held_bytes = 0

    def reply(self, response: Response) -> None:
        """Set the response, once."""
        if self.response is None:
            self.response = response
            self._connection.on_response(self)


class Connection(asyncio.BufferedProtocol):
    """A client connection.

    Attributes:
        deadline: seconds of ``time.monotonic`` at which it times out.
        last_received: when bytes last arrived, seconds of ``time.monotonic``.
    """

    __slots__ = (
        "_ending",
        "_eof",
        "_manager",
        "_parser",
        "_pending",
        "_phase",
        "_reserved",
        "_traffic",
        "_transport",
        "_write_paused",
        "deadline",
        "last_received",
    )

    def __init__(self, manager: ConnectionManager) -> None:
        """Prepare for a transport; ``connection_made`` receives it."""
        self._manager, self._traffic = manager, manager.traffic
        self._parser = RequestParser(manager.limits, self)
        self._pending: deque[Exchange] = deque()
        self._phase = Phase.IDLE
        self._reserved = 0
        self._eof = False
        self._ending = False
        self._write_paused = False
        self._transport: asyncio.Transport | None = None
        self.last_received = time.monotonic()
        self.deadline = self.last_received + manager.limits.header_s

    def is_busy(self, since: float) -> bool:
        """Return whether a body is being received or bytes arrived after ``since``."""
        return self.last_received >= since or self._parser.phase == Phase.BODY

    def is_idle(self, since: float) -> bool:
        """Return whether no request is pending and no bytes arrived after ``since``."""
        is_quiet = self._parser.phase == Phase.IDLE and not self._pending and not self._ending
        return is_quiet and self.last_received < since

    def close(self) -> None:
        """Close immediately, without a response."""
        self._ending = True
        self._manager.remove(self)
        self._release()
        if self._transport:
            self._transport.close()

    # ---- Called by the transport -------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Register the connection; reject it when there are too many."""
        self._transport = cast("asyncio.Transport", transport)
        if self._manager.add(self):
            self.on_error(503, "too many connections are open; try again in a second")

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002 - the protocol's signature
        """Return the memory to receive into."""
        shared = self._manager.shared
        return shared if self._ending else self._parser.get_buffer(shared)

    def buffer_updated(self, nbytes: int) -> None:
        """Parse received bytes."""
        if self._ending:
            return
        self.last_received = time.monotonic()
        self._parser.buffer_updated(nbytes, self._manager.shared)
        self._set_deadline()

    def eof_received(self) -> bool:
        """Finish after the pending responses: the client sends no more."""
        self._eof = True
        if self._ending:
            return False
        self._parser.eof_received()
        if self._pending:
            self._pending[-1].keep_alive = False
        return bool(self._pending)

    def pause_writing(self) -> None:
        """Stop reading from a client that does not read its responses."""
        self._write_paused = True
        self.deadline = time.monotonic() + self._manager.limits.write_s
        self._control_flow()

    def resume_writing(self) -> None:
        """Resume reading."""
        self._write_paused = False
        self._set_deadline()
        self._control_flow()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - likewise
        """Unregister the connection; pending responses are dropped."""
        self._transport = None
        self._ending = True
        self._manager.remove(self)
        self._release()

    # ---- Called by the parser ----------------------------------------------------------------

    def on_request(self, request: Request, *, keep_alive: bool) -> None:
        """Dispatch a request, or reject it when too many are in flight."""
        manager, traffic = self._manager, self._traffic
        is_admitted = manager.admit(request.target, pipelined=bool(self._pending))
        is_head = request.method == "HEAD"
        if not (is_admitted or is_head or self._pending or traffic.draining) and keep_alive:
            self._reject_with_backoff(request)
            return
        exchange = Exchange(self, request, keep_alive=keep_alive, is_head=is_head)
        exchange.held_bytes, self._reserved = self._reserved, 0
        self._pending.append(exchange)
        self._phase = Phase.IDLE
        if not is_admitted:
            traffic.in_flight += 1
            traffic.count_rejected(503)
            exchange.reply(self._with_cors(manager.overloaded, request.headers))
            return
        try:
            manager.handle(request, exchange.reply)
        except Exception as exc:  # noqa: BLE001 - a bug must not affect other requests
            manager.report(exc)
            exchange.reply(internal_error_response())
        if len(self._pending) >= manager.limits.pipelined:
            self._control_flow()

    def _with_cors(self, response: Response, headers: dict[bytes, bytes]) -> Response:
        """Add the fields that let a page of another origin read an error."""
        cors = self._manager.cors
        if not cors.is_enabled:
            return response
        return replace(response, headers=(*response.headers, *cors.fields(headers)))

    def _reject_with_backoff(self, request: Request) -> None:
        """Send the prepared 503 and stop reading for a moment.

        Otherwise clients that retry at once would slow down admitted requests.
        """
        traffic, transport = self._traffic, self._transport
        self._release()
        self._phase = Phase.IDLE
        traffic.count_rejected(503)
        if transport is None or self._ending:
            return
        traffic.count_response(503)
        manager = self._manager
        manager.failures.record(manager.overloaded, request)
        if manager.cors.is_enabled:
            response = self._with_cors(manager.overloaded, request.headers)
            transport.write(encode_head(response, manager.date, close=False))
            transport.writelines(response.body)
        else:
            transport.write(manager.overloaded_bytes)
        transport.pause_reading()
        asyncio.get_running_loop().call_later(_BACKOFF_S, self._control_flow)

    def on_error(self, status: int, message: str) -> None:
        """Send a last response: nothing more can be parsed."""
        self._traffic.count_rejected(status)
        exchange = Exchange(self, keep_alive=False, is_head=False)
        exchange.held_bytes, self._reserved = self._reserved, 0
        self._traffic.in_flight += 1
        self._pending.append(exchange)
        response = error_response(status, message, RETRY_AFTER if status == 503 else ())  # noqa: PLR2004
        exchange.reply(self._with_cors(response, self._parser.headers))

    def send_continue(self) -> None:
        """Send ``100 Continue``, after the pending responses."""
        if self._pending:
            exchange = Exchange(self, keep_alive=True, is_head=False)
            exchange.response = Response(_INTERIM)
            self._pending.append(exchange)
        elif self._transport:
            self._transport.write(CONTINUE)

    def reserve(self, size: int) -> bool:
        """Reserve memory for bytes of a body; return whether it is available."""
        if not self._manager.reserve(size):
            return False
        self._reserved += size
        return True

    # ---- Responses ---------------------------------------------------------------------------

    def on_response(self, exchange: Exchange) -> None:
        """Send every response that is next in order."""
        self._traffic.in_flight -= 1
        self._traffic.buffered_bytes -= exchange.held_bytes
        pending = self._pending
        while pending and pending[0].response is not None:
            self._send(pending.popleft())
        if not pending and not self._ending:
            self._set_deadline()
        if self._transport and not self._transport.is_reading():
            self._control_flow()

    def _send(self, exchange: Exchange) -> None:
        response, transport = exchange.response, self._transport
        if response is None or transport is None or self._ending:
            return
        if response.status == _INTERIM:
            transport.write(CONTINUE)
            return
        close = not exchange.keep_alive or (self._traffic.draining and not self._pending)
        self._traffic.count_response(response.status)
        if response.status >= _ERROR:
            self._manager.failures.record(response, exchange.request)
        head = encode_head(response, self._manager.date, close=close)
        body = () if exchange.is_head else response.body
        if len(body) == 1 and len(body[0]) < _SMALL_BYTES:
            transport.write(head + body[0])
        else:
            transport.writelines([head, *body])
        if close:
            self.end()

    def end(self) -> None:
        """Close after pending writes are flushed, without resetting the client."""
        transport = self._transport
        if transport is None or self._ending:
            return
        self._ending = True
        self._release()
        self.deadline = time.monotonic() + _LINGER_S
        if transport.can_write_eof() and not self._eof:
            transport.write_eof()
            transport.resume_reading()
        else:
            transport.close()

    # ---- Timeouts and flow control -----------------------------------------------------------

    def on_timeout(self) -> None:
        """Close an expired connection, with a 408 where a request has begun."""
        if self._ending or self._write_paused:
            if self._transport:
                self._transport.abort()
        elif self._phase == Phase.IDLE:
            self.end()
        else:
            part = "header" if self._phase == Phase.HEAD else "body"
            self.on_error(408, f"timed out receiving the {part}; send it faster")

    def _set_deadline(self) -> None:
        """Set the deadline of the current phase; it restarts with each phase."""
        if self._write_paused or self._ending:
            return
        phase, limits = self._parser.phase, self._manager.limits
        if phase == Phase.IDLE:
            self.deadline = inf if self._pending else time.monotonic() + limits.idle_s
        elif phase != self._phase:
            allowed = limits.header_s if phase == Phase.HEAD else limits.body_s
            self.deadline = time.monotonic() + allowed
        self._phase = phase

    def _control_flow(self) -> None:
        """Read only while the client reads its responses and pipelines few requests."""
        transport = self._transport
        if transport is None or self._ending:
            return
        if self._write_paused or len(self._pending) >= self._manager.limits.pipelined:
            transport.pause_reading()
        else:
            transport.resume_reading()

    def _release(self) -> None:
        self._traffic.buffered_bytes -= self._reserved
        self._reserved = 0
