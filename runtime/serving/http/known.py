"""Heads that a connection has sent before: byte for byte the same, they mean the same.

A client sends the same few heads for ever. What the parser made of one the first time is used
again, so that only new ones are parsed. In: the bytes of a head, its empty line included. Out: a
``Head``. No errors.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from runtime.value import Value

if TYPE_CHECKING:
    from runtime.serving.http.message import Buffer

_MOST_BYTES: Final = 1024  # of a head that is kept
_MOST_HEADS: Final = 8  # of a connection: what a client can make us keep
_END: Final = b"\r\n\r\n"


class Head(Value, frozen=True, gc=False):
    """A head that was read, checked, and let its connection go on.

    Attributes:
        method: in capitals.
        target: path and query.
        headers: values by name in lower case.
        length: bytes of the body; more than 0.
    """

    method: str
    target: bytes
    headers: dict[bytes, bytes]
    length: int


def cut_head(data: Buffer) -> bytes:
    """Cut off a head.

    Args:
        data: begins with a request.

    Returns:
        Its bytes up to the empty line; nothing where it is not whole, or long.
    """
    start = bytes(data[:_MOST_BYTES])
    return start[: start.find(_END) + len(_END)] if _END in start else b""


class KnownHeads:
    """The heads of one connection."""

    __slots__ = ("_heads",)

    def __init__(self) -> None:
        """Begin with none."""
        self._heads: dict[bytes, Head] = {}

    def find(self, text: bytes) -> Head | None:
        """Look up what a head means.

        Args:
            text: its bytes.

        Returns:
            None where it was not sent before.
        """
        return self._heads.get(text)

    def keep(self, text: bytes, head: Head) -> None:
        """Keep what a head means; one too many, and the older ones are forgotten."""
        if len(self._heads) >= _MOST_HEADS:
            self._heads.clear()
        self._heads[text] = head
