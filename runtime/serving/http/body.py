"""The buffer of a request's body, which the socket writes into without a copy."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from runtime.serving.http.messages import Buffer

_INITIAL_BYTES: Final = 256 * 1024  # allocated at once for a body of announced length


class BodyBuffer:
    """A body of known length that the socket writes into; grows as bytes arrive.

    Attributes:
        content: the body, complete once ``is_complete``.
        filled: bytes received.
    """

    __slots__ = ("_length", "content", "filled")

    def __init__(self, received: Buffer, length: int) -> None:
        """Begin with the ``received`` bytes of a body of ``length``."""
        self._length, self.filled = length, len(received)
        self.content = bytearray(min(len(received) + _INITIAL_BYTES, length))
        self.content[: len(received)] = received

    @property
    def is_complete(self) -> bool:
        """Whether all bytes were received."""
        return self.filled == self._length

    def free(self) -> memoryview:
        """Return the free part, which at most doubles the buffer, whatever length was announced."""
        if self.filled == len(self.content):
            self.content += bytes(min(self.filled, self._length - self.filled))
        return memoryview(self.content)[self.filled :]
