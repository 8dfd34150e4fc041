"""Counts of a server's connections and answers, shared by those who count and those who tell."""

from __future__ import annotations

import asyncio
from typing import Final

PIPELINED: Final = 16


class Traffic:
    """What goes through a server; for the event loop's thread.

    Attributes:
        connections: open now.
        in_flight: requests being answered now.
        buffered: bytes of the bodies held now.
        answers: sent so far, by status.
        refused: of them, those that were turned away unread, by status.
        draining: the server ends: it is not ready, and each answer ends its connection.
    """

    __slots__ = (
        "_let_in",
        "answers",
        "buffered",
        "connections",
        "draining",
        "in_flight",
        "refused",
    )

    def __init__(self) -> None:
        """Begin at nothing."""
        self.connections = self.in_flight = self.buffered = 0
        self._let_in = 0  # in this turn of the loop
        self.answers: dict[int, int] = {}
        self.refused: dict[int, int] = {}
        self.draining = False

    def let_in(self, most: int, *, follows: bool = False) -> bool:
        """Let a request in, unless so many are being answered or were let in in this turn.

        What is answered at once is never in flight when the next is read, however many wait in
        their sockets: so each turn of the event loop takes as many as may be in flight.

        Args:
            most: that may be in flight.
            follows: one of its client's, which it did not wait for, is in: it goes with that one,
                until there are ``PIPELINED`` times as many in flight.

        Returns:
            Whether it is in; then it counts as in flight.
        """
        if follows:
            is_in = self.in_flight < PIPELINED * most
            self.in_flight += is_in
            return is_in
        if self._let_in >= most or self.in_flight >= most:
            return False
        if not self._let_in:
            asyncio.get_running_loop().call_soon(self._end_turn)
        self._let_in += 1
        self.in_flight += 1
        return True

    def _end_turn(self) -> None:
        self._let_in = 0

    def count_answer(self, status: int) -> None:
        """Count an answer."""
        self.answers[status] = self.answers.get(status, 0) + 1

    def count_refusal(self, status: int) -> None:
        """Count a request that is turned away unread."""
        self.refused[status] = self.refused.get(status, 0) + 1
