"""One connection: what is read becomes requests, answers go out in the order of the requests.

In: a transport of asyncio or uvloop. Out: bytes to it. Whatever a client does, it costs at most
what ``Limits`` allows, and its connection ends with an answer where one can still be read.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from math import inf
from typing import TYPE_CHECKING, Final, cast

from runtime.serving.http.exchange import Exchange
from runtime.serving.http.hub import RETRY
from runtime.serving.http.message import CONTINUE, Request, Response, encode_head, refusal
from runtime.serving.http.reading import RequestReader
from runtime.serving.http.taker import Phase

if TYPE_CHECKING:
    from runtime.serving.http.hub import Hub

_LINGER_S: Final = 0.5  # what a client still sends is read: a reset would take its answer away
_SMALL_BYTES: Final = 16 * 1024  # joined to its head: one write instead of two
_INTERIM: Final = 100
_REST_S: Final = 0.1  # in which a client that was turned away is not heard


class Connection(asyncio.BufferedProtocol):
    """A client, from its connecting to its end.

    Attributes:
        deadline: seconds of ``time.monotonic`` at which its time is over.
        heard: when it last sent something.
    """

    __slots__ = (
        "_client_ended",
        "_ending",
        "_hub",
        "_pending",
        "_phase",
        "_reader",
        "_reserved",
        "_stalled",
        "_traffic",
        "_transport",
        "deadline",
        "heard",
    )

    def __init__(self, hub: Hub) -> None:
        """Wait for the transport.

        Args:
            hub: what all connections share.
        """
        self._hub, self._traffic = hub, hub.traffic
        self._reader = RequestReader(hub.limits, self)
        self._pending: deque[Exchange] = deque()
        self._phase = Phase.IDLE
        self._reserved = 0
        self._client_ended = False
        self._ending = False
        self._stalled = False
        self._transport: asyncio.Transport | None = None
        self.heard = time.monotonic()
        self.deadline = self.heard + hub.limits.header_s

    def is_busy(self, since: float) -> bool:
        """Tell whether a request is on its way, or something was heard after ``since``."""
        return self.heard >= since or self._reader.phase == Phase.BODY

    def is_idle(self, since: float) -> bool:
        """Tell whether nothing is asked or answered and nothing was heard after ``since``."""
        is_quiet = self._reader.phase == Phase.IDLE and not self._pending and not self._ending
        return is_quiet and self.heard < since

    def close(self) -> None:
        """Close at once, without a word."""
        self._ending = True
        self._hub.remove(self)
        self._release()
        if self._transport:
            self._transport.close()

    # ---- What the transport calls ------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin; one connection too many is told so."""
        self._transport = cast("asyncio.Transport", transport)
        if self._hub.add(self):
            self.refuse(503, "too many connections are open; try again in a second")

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002 - the protocol's signature
        """Say where the next bytes go."""
        return self._hub.shared if self._ending else self._reader.room(self._hub.shared)

    def buffer_updated(self, nbytes: int) -> None:
        """Read what has come."""
        if self._ending:
            return
        self.heard = time.monotonic()
        self._reader.received(nbytes, self._hub.shared)
        self._set_deadline()

    def eof_received(self) -> bool:
        """Note that the client sends no more; what it asked for is still answered."""
        self._client_ended = True
        if self._ending:
            return False
        self._reader.ended()
        if self._pending:
            self._pending[-1].keep_alive = False
        return bool(self._pending)

    def pause_writing(self) -> None:
        """Stop reading from a client that doesn't read."""
        self._stalled = True
        self.deadline = time.monotonic() + self._hub.limits.write_s
        self._pace()

    def resume_writing(self) -> None:
        """Go on."""
        self._stalled = False
        self._set_deadline()
        self._pace()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - likewise
        """Forget the connection; what it still waits for is computed and dropped."""
        self._transport = None
        self._ending = True
        self._hub.remove(self)
        self._release()

    # ---- What the reader calls ---------------------------------------------------------------

    def take(self, request: Request, *, keep_alive: bool) -> None:
        """Have a request answered."""
        hub, traffic = self._hub, self._traffic
        is_in = hub.let_in(request.target, follows=bool(self._pending))
        is_head = request.method == "HEAD"
        if not (is_in or is_head or self._pending or traffic.draining) and keep_alive:
            self._turn_away()
            return
        exchange = Exchange(self, keep_alive=keep_alive, is_head=is_head)
        exchange.held, self._reserved = self._reserved, 0
        self._pending.append(exchange)
        self._phase = Phase.IDLE
        if not is_in:
            traffic.in_flight += 1
            traffic.count_refusal(503)
            exchange.reply(hub.full)
            return
        try:
            hub.handle(request, exchange.reply)
        except Exception as exc:  # noqa: BLE001 - a bug must not take the other requests with it
            hub.report(exc)
            exchange.reply(refusal(500, "a bug of the server; its log says more"))
        if len(self._pending) >= hub.limits.pipelined:
            self._pace()

    def _turn_away(self) -> None:
        """Answer one request too many, in no time, and hear no more of its client for a while.

        It was told to wait a second. Clients that ask again at once would otherwise take the
        server's time from those who are let in.
        """
        traffic, transport = self._traffic, self._transport
        self._release()
        self._phase = Phase.IDLE
        traffic.count_refusal(503)
        if transport is None or self._ending:
            return
        traffic.count_answer(503)
        transport.write(self._hub.full_text)
        transport.pause_reading()
        asyncio.get_running_loop().call_later(_REST_S, self._pace)

    def refuse(self, status: int, message: str) -> None:
        """Answer the last request of this connection: nothing more can be read."""
        self._traffic.count_refusal(status)
        exchange = Exchange(self, keep_alive=False, is_head=False)
        exchange.held, self._reserved = self._reserved, 0
        self._traffic.in_flight += 1
        self._pending.append(exchange)
        exchange.reply(refusal(status, message, RETRY if status == 503 else ()))  # noqa: PLR2004

    def go_on(self) -> None:
        """Tell the client to send its body, after the answers that it still waits for."""
        if self._pending:
            exchange = Exchange(self, keep_alive=True, is_head=False)
            exchange.response = Response(_INTERIM)
            self._pending.append(exchange)
        elif self._transport:
            self._transport.write(CONTINUE)

    def reserve(self, size: int) -> bool:
        """Ask for room for so many bytes of a body."""
        if not self._hub.reserve(size):
            return False
        self._reserved += size
        return True

    # ---- Answers -----------------------------------------------------------------------------

    def answered(self, exchange: Exchange) -> None:
        """Send an answer when all before it are sent."""
        self._traffic.in_flight -= 1
        self._traffic.buffered -= exchange.held
        pending = self._pending
        while pending and pending[0].response is not None:
            self._send(pending.popleft())
        if not pending and not self._ending:
            self._set_deadline()
        if self._transport and not self._transport.is_reading():
            self._pace()

    def _send(self, exchange: Exchange) -> None:
        response, transport = exchange.response, self._transport
        if response is None or transport is None or self._ending:
            return
        if response.status == _INTERIM:
            transport.write(CONTINUE)
            return
        close = not exchange.keep_alive or (self._traffic.draining and not self._pending)
        self._traffic.count_answer(response.status)
        head = encode_head(response, self._hub.date, close=close)
        body = () if exchange.is_head else response.body
        if len(body) == 1 and len(body[0]) < _SMALL_BYTES:
            transport.write(head + body[0])
        else:
            transport.writelines([head, *body])
        if close:
            self.end()

    def end(self) -> None:
        """Close, after what was written has gone out, and without cutting off the client."""
        transport = self._transport
        if transport is None or self._ending:
            return
        self._ending = True
        self._release()
        self.deadline = time.monotonic() + _LINGER_S
        if transport.can_write_eof() and not self._client_ended:
            transport.write_eof()
            transport.resume_reading()
        else:
            transport.close()

    # ---- Time --------------------------------------------------------------------------------

    def time_is_over(self) -> None:
        """Close a connection that took too long, with a word where a request has begun."""
        if self._ending or self._stalled:
            if self._transport:
                self._transport.abort()
        elif self._phase == Phase.IDLE:
            self.end()
        else:
            what = "header" if self._phase == Phase.HEAD else "body"
            self.refuse(408, f"the {what} took too long to come; send it faster")

    def _set_deadline(self) -> None:
        """Set the time for what is being waited for; it starts anew with each phase."""
        if self._stalled or self._ending:
            return
        phase, limits = self._reader.phase, self._hub.limits
        if phase == Phase.IDLE:
            self.deadline = inf if self._pending else time.monotonic() + limits.idle_s
        elif phase != self._phase:
            allowed = limits.header_s if phase == Phase.HEAD else limits.body_s
            self.deadline = time.monotonic() + allowed
        self._phase = phase

    def _pace(self) -> None:
        """Read while the client reads its answers and doesn't ask too much at once."""
        transport = self._transport
        if transport is None or self._ending:
            return
        if self._stalled or len(self._pending) >= self._hub.limits.pipelined:
            transport.pause_reading()
        else:
            transport.resume_reading()

    def _release(self) -> None:
        self._traffic.buffered -= self._reserved
        self._reserved = 0
