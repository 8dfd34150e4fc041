"""Counts of a server's connections and answers, shared by those who count and those who tell."""

from __future__ import annotations


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

    __slots__ = ("answers", "buffered", "connections", "draining", "in_flight", "refused")

    def __init__(self) -> None:
        """Begin at nothing."""
        self.connections = self.in_flight = self.buffered = 0
        self.answers: dict[int, int] = {}
        self.refused: dict[int, int] = {}
        self.draining = False

    def count_answer(self, status: int) -> None:
        """Count an answer."""
        self.answers[status] = self.answers.get(status, 0) + 1

    def count_refusal(self, status: int) -> None:
        """Count a request that is turned away unread."""
        self.refused[status] = self.refused.get(status, 0) + 1
