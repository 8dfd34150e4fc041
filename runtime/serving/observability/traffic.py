"""Counters of a server's connections, requests and responses, and request admission."""

from __future__ import annotations

import asyncio
from typing import Final

_PIPELINED_FACTOR: Final = 16


class Traffic:
    """Counters of one server; for the event loop's thread.

    Attributes:
        connections: open now.
        in_flight: requests being handled now.
        buffered_bytes: of bodies in memory now.
        responses: sent so far, by status.
        rejected: of them, those rejected before their body was handled, by status.
        draining: the server is shutting down: not ready, and responses close their connection.
    """

    __slots__ = (
        "_admitted",
        "buffered_bytes",
        "connections",
        "draining",
        "in_flight",
        "rejected",
        "responses",
    )

    def __init__(self) -> None:
        """Begin at zero."""
        self.connections = self.in_flight = self.buffered_bytes = 0
        self._admitted = 0  # in this iteration of the event loop
        self.responses: dict[int, int] = {}
        self.rejected: dict[int, int] = {}
        self.draining = False

    def admit(self, limit: int, *, pipelined: bool = False) -> bool:
        """Return whether a request is admitted; it then counts as in flight.

        Up to ``limit`` requests may be in flight, and as many are admitted in one iteration of the
        event loop: those completed within it are never in flight when the next is read. A
        ``pipelined`` request joins its client's others, up to 16 times the limit.
        """
        if pipelined:
            admitted = self.in_flight < _PIPELINED_FACTOR * limit
            self.in_flight += admitted
            return admitted
        if self._admitted >= limit or self.in_flight >= limit:
            return False
        if not self._admitted:
            asyncio.get_running_loop().call_soon(self._end_iteration)
        self._admitted += 1
        self.in_flight += 1
        return True

    def _end_iteration(self) -> None:
        self._admitted = 0

    def count_response(self, status: int) -> None:
        """Count a response."""
        self.responses[status] = self.responses.get(status, 0) + 1

    def count_rejected(self, status: int) -> None:
        """Count a request rejected before it was handled."""
        self.rejected[status] = self.rejected.get(status, 0) + 1
