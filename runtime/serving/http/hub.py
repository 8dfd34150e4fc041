"""What all connections of a server share: limits, counts, the clock, and the end.

A sweep, twice a second, closes those that take too long; so no request sets a timer of its own.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from runtime.serving.http.message import encode_head, refusal

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    from runtime.serving.http.connection import Connection
    from runtime.serving.http.message import Handle
    from runtime.serving.limits import Limits
    from runtime.serving.observing.traffic import Traffic

RETRY: Final = ((b"retry-after", b"1"),)
SWEEP_S: Final = 0.5
_DAYS: Final = "MonTueWedThuFriSatSun"
_MONTHS: Final = "JanFebMarAprMayJunJulAugSepOctNovDec"
_READ_BYTES: Final = 64 * 1024  # at once; so many small requests of one client are read together
_LEAST_IDLE_S: Final = 1.0  # a client that has just come, or been answered, may be about to ask
_SHARE_CLOSED: Final = 32  # of the connections, at once: looking for them is not for nothing
_MOST_TOLD: Final = 64  # connections beyond the limit that stay open to be told so
# What is asked when a server is in trouble is answered also then.
_ALWAYS: Final = ("/v2/health/", "/metrics")


class Hub:
    """The connections of one server, for one event loop.

    Attributes:
        handle: answers requests.
        shared: memory that heads and small bodies are received in.
        date: the line of the field ``date``, brought up to date by the sweep.
        traffic: what goes through.
        full: the answer to one request too many.
        full_text: the same as it is sent.
    """

    def __init__(
        self,
        handle: Handle,
        limits: Limits,
        traffic: Traffic,
        report: Callable[[Exception], None],
    ) -> None:
        """Begin without connections.

        Args:
            handle: answers requests.
            limits: of connections, time and size.
            traffic: counts.
            report: told of an error in ``handle``, which is a bug.
        """
        self.handle, self.limits, self.traffic, self.report = handle, limits, traffic, report
        self.shared = memoryview(bytearray(_READ_BYTES))
        self.open: set[Connection] = set()
        message = f"{limits.in_flight} requests are in flight; try again in a second"
        self.full = refusal(503, message, RETRY)
        self.date = self.full_text = b""
        self.tell_time()

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        """Begin to sweep."""
        self.sweep()
        loop.call_later(SWEEP_S, self.start, loop)

    def sweep(self) -> None:
        """Close connections whose time is over."""
        self.tell_time()
        now = time.monotonic()
        for connection in [one for one in self.open if one.deadline < now]:
            connection.time_is_over()

    def tell_time(self) -> None:
        """Bring up to date what has the time in it."""
        self.date = _date_line()
        head = encode_head(self.full, self.date, close=False)
        self.full_text = b"".join([head, *self.full.body])

    def let_in(self, target: str, *, follows: bool) -> bool:
        """Let a request in, unless one more is too many now; what is in counts as in flight.

        Args:
            target: of the request; health and metrics are always in.
            follows: one of its client's is in.

        Returns:
            Whether it is in.
        """
        if target.startswith(_ALWAYS):
            self.traffic.in_flight += 1
            return True
        return self.traffic.let_in(self.limits.in_flight, follows=follows)

    def reserve(self, size: int) -> bool:
        """Ask for room for so many bytes of a body."""
        if self.traffic.buffered + size > self.limits.buffered_bytes:
            return False
        self.traffic.buffered += size
        return True

    def add(self, connection: Connection) -> bool:
        """Take a connection; tell whether it is one too many.

        Those that have been idle give way to it: who opens connections and asks nothing keeps
        nobody out. Of those that are too many, so many are told so that it costs little.
        """
        self.open.add(connection)
        excess = len(self.open) - self.limits.connections
        if excess > 0 and self._close_idle():
            excess = 0
        if excess > _MOST_TOLD:
            connection.close()
            excess = 0
        self.traffic.connections = len(self.open)
        return excess > 0

    def _close_idle(self) -> int:
        """Close the connections that have been idle longest; tell how many."""
        before = time.monotonic() - _LEAST_IDLE_S
        idle = [one for one in self.open if one.is_idle(before)]
        idle.sort(key=lambda one: one.heard)
        found = idle[: 1 + self.limits.connections // _SHARE_CLOSED]
        for connection in found:
            connection.close()
        return len(found)

    def remove(self, connection: Connection) -> None:
        """Forget a connection."""
        self.open.discard(connection)
        self.traffic.connections = len(self.open)

    def is_quiet(self, since: float) -> bool:
        """Tell whether nothing is being answered and no client has been heard of lately.

        Args:
            since: seconds of ``time.monotonic``.

        Returns:
            Whether the server can end.
        """
        return not self.traffic.in_flight and not any(one.is_busy(since) for one in self.open)

    def close_all(self) -> None:
        """Close every connection, after what was written has gone out."""
        for connection in list(self.open):
            connection.end()


def _date_line() -> bytes:
    """Write the time as RFC 9110, 5.6.7, wants it, whatever language the machine speaks."""
    at = time.gmtime()
    day = _DAYS[3 * at.tm_wday :][:3]
    month = _MONTHS[3 * at.tm_mon - 3 :][:3]
    clock = f"{at.tm_hour:02}:{at.tm_min:02}:{at.tm_sec:02}"
    return f"date: {day}, {at.tm_mday:02} {month} {at.tm_year} {clock} GMT\r\n".encode()
