"""A request that was handed on, and its answer when it is there."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from runtime.serving.http.connection import Connection
    from runtime.serving.http.message import Response


class Exchange:
    """What a connection waits for, in the order it was asked for.

    Attributes:
        keep_alive: another request may follow.
        is_head: the answer's body is not sent.
        response: the answer; None while there is none.
        held: bytes of the request's body, which take room until it is answered.
    """

    __slots__ = ("_connection", "held", "is_head", "keep_alive", "response")

    def __init__(self, connection: Connection, *, keep_alive: bool, is_head: bool) -> None:
        """Begin without an answer.

        Args:
            connection: that it came from.
            keep_alive: another request may follow.
            is_head: the answer's body is not sent.
        """
        self._connection = connection
        self.keep_alive, self.is_head = keep_alive, is_head
        self.response: Response | None = None
        self.held = 0

    def reply(self, response: Response) -> None:
        """Answer, once."""
        if self.response is None:
            self.response = response
            self._connection.answered(self)
