"""The open connections of a server: limits, timeouts, admission and shutdown.

A periodic sweep closes expired connections, so no request sets a timer of its own.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final, Protocol

from runtime.serving.cors import Cors
from runtime.serving.http.messages import RETRY_AFTER, encode_head, error_response

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    from runtime.serving.http.messages import Handle
    from runtime.serving.observability.failures import FailureLog
    from runtime.serving.observability.traffic import Traffic
    from runtime.serving.settings import Limits

SWEEP_S: Final = 0.5
_DAYS: Final = "MonTueWedThuFriSatSun"
_MONTHS: Final = "JanFebMarAprMayJunJulAugSepOctNovDec"
_READ_BYTES: Final = 64 * 1024  # per read; many small pipelined requests arrive in one
_MIN_IDLE_S: Final = 1.0  # a client that has just connected or got a response is not idle yet
_CLOSED_FRACTION: Final = 32  # 1/32 of the connections is closed at once: the scan is linear
_MAX_EXCESS: Final = 64  # excess connections that still receive a 503
_ALWAYS_ADMITTED: Final = ("/v2/health/", "/metrics")  # needed most under overload


class ManagedConnection(Protocol):
    """What the manager needs of a connection."""

    deadline: float
    last_received: float

    def is_busy(self, since: float) -> bool:
        """Return whether a body is being received or bytes arrived after ``since``."""

    def is_idle(self, since: float) -> bool:
        """Return whether no request is pending and no bytes arrived after ``since``."""

    def on_timeout(self) -> None:
        """Handle an expired deadline."""

    def end(self) -> None:
        """Close after pending writes are flushed."""

    def close(self) -> None:
        """Close immediately."""


class ConnectionManager:
    """The connections of one server, for one event loop.

    Attributes:
        handle: the application's request handler.
        shared: buffer that heads and small bodies are received into.
        date: the ``date`` header line, updated by the sweep.
        traffic: counters of the server.
        cors: adds fields to the responses that the application does not make.
        overloaded: the response when too many requests are in flight.
        overloaded_bytes: the same, encoded.
    """

    def __init__(
        self,
        handle: Handle,
        limits: Limits,
        traffic: Traffic,
        report: Callable[[Exception], None],
        failures: FailureLog,
        cors: Cors | None = None,
    ) -> None:
        """Begin without connections; ``report`` logs a bug in ``handle``."""
        self.handle, self.limits, self.traffic, self.report = handle, limits, traffic, report
        self.failures = failures
        self.cors = cors or Cors()
        self.shared = memoryview(bytearray(_READ_BYTES))
        self.open: set[ManagedConnection] = set()
        message = f"{limits.in_flight} requests are in flight; try again in a second"
        self.overloaded = error_response(503, message, RETRY_AFTER, "overload")
        self.date = self.overloaded_bytes = b""
        self._update_date()

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        """Sweep now and periodically."""
        self.sweep()
        loop.call_later(SWEEP_S, self.start, loop)

    def sweep(self) -> None:
        """Close connections whose deadline has passed; log failed requests."""
        self._update_date()
        self.failures.flush_if_due()
        now = time.monotonic()
        for connection in [one for one in self.open if one.deadline < now]:
            connection.on_timeout()

    def _update_date(self) -> None:
        self.date = _date_line()
        head = encode_head(self.overloaded, self.date, close=False)
        self.overloaded_bytes = b"".join([head, *self.overloaded.body])

    def admit(self, target: str, *, pipelined: bool) -> bool:
        """Return whether a request is admitted; it then counts as in flight.

        Health and metrics always are. ``pipelined``: another request of the client is in flight.
        """
        if target.startswith(_ALWAYS_ADMITTED):
            self.traffic.in_flight += 1
            return True
        return self.traffic.admit(self.limits.in_flight, pipelined=pipelined)

    def reserve(self, size: int) -> bool:
        """Reserve memory for bytes of a body; return whether it is available."""
        if self.traffic.buffered_bytes + size > self.limits.buffered_bytes:
            return False
        self.traffic.buffered_bytes += size
        return True

    def add(self, connection: ManagedConnection) -> bool:
        """Register a connection; return whether it is to be rejected with a 503.

        Idle connections are closed to make room, so a client that only opens them blocks nobody.
        """
        self.open.add(connection)
        excess = len(self.open) - self.limits.connections
        if excess > 0 and self._close_idle():
            excess = 0
        if excess > _MAX_EXCESS:
            connection.close()
            excess = 0
        self.traffic.connections = len(self.open)
        return excess > 0

    def _close_idle(self) -> int:
        """Close the connections that have been idle longest; return how many."""
        before = time.monotonic() - _MIN_IDLE_S
        idle = [one for one in self.open if one.is_idle(before)]
        idle.sort(key=lambda one: one.last_received)
        chosen = idle[: 1 + self.limits.connections // _CLOSED_FRACTION]
        for connection in chosen:
            connection.close()
        return len(chosen)

    def remove(self, connection: ManagedConnection) -> None:
        """Unregister a connection."""
        self.open.discard(connection)
        self.traffic.connections = len(self.open)

    def is_quiet(self, since: float) -> bool:
        """Return whether nothing is in flight and no bytes arrived after ``since``."""
        return not self.traffic.in_flight and not any(one.is_busy(since) for one in self.open)

    def close_all(self) -> None:
        """Close every connection after its pending writes are flushed."""
        for connection in list(self.open):
            connection.end()


def _date_line() -> bytes:
    """Format the time as RFC 9110, 5.6.7 specifies, independent of the locale."""
    at = time.gmtime()
    day = _DAYS[3 * at.tm_wday :][:3]
    month = _MONTHS[3 * at.tm_mon - 3 :][:3]
    clock = f"{at.tm_hour:02}:{at.tm_min:02}:{at.tm_sec:02}"
    return f"date: {day}, {at.tm_mday:02} {month} {at.tm_year} {clock} GMT\r\n".encode()
