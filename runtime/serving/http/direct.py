"""The memory that a large body of known length is received in, and stays in.

In: the bytes of it that have come. Out: room for more. Raises ``MemoryError``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from runtime.serving.http.message import Buffer

_FIRST_BYTES: Final = 256 * 1024  # room made at once for a body that was announced


class DirectBody:
    """A body that the socket writes to its place; nothing copies it again.

    Attributes:
        filled: bytes that have come.
    """

    __slots__ = ("_content", "_length", "filled")

    def __init__(self, have: Buffer, length: int) -> None:
        """Go on with a body of which some bytes have been read.

        Args:
            have: these bytes.
            length: of the whole body.

        Raises:
            MemoryError: when there is no room.
        """
        self._length, self.filled = length, len(have)
        self._content = bytearray(min(len(have) + _FIRST_BYTES, length))
        self._content[: len(have)] = have

    @property
    def is_whole(self) -> bool:
        """Whether all of it has come."""
        return self.filled == self._length

    @property
    def content(self) -> bytearray:
        """Its bytes, when it is whole."""
        return self._content

    def room(self) -> memoryview:
        """Give the memory that the next bytes go to.

        Returns:
            Room for no more than have come already, whatever was announced.

        Raises:
            MemoryError: when there is none.
        """
        if self.filled == len(self._content):
            self._content += bytes(min(self.filled, self._length - self.filled))
        return memoryview(self._content)[self.filled :]
