"""What the reader of requests and the connection that takes them know of each other. No errors."""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from runtime.serving.http.message import Request


class Phase(IntEnum):
    """How far the current request has come."""

    IDLE = 0
    HEAD = 1
    BODY = 2


class Taker(Protocol):
    """Who takes what was read: the connection."""

    def take(self, request: Request, *, keep_alive: bool) -> None:
        """Take a whole request."""

    def refuse(self, status: int, message: str) -> None:
        """Take the reason why nothing more can be read."""

    def go_on(self) -> None:
        """Tell the client to send the body that it holds back."""

    def reserve(self, size: int) -> bool:
        """Ask for room for so many bytes of a body; given back when the request is answered."""
