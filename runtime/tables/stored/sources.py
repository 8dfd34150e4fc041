"""Where a table's bytes come from, looked at before they are read, and counted.

In: an unbuffered file or pipe. Out: the same bytes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from runtime.errors import DataError

if TYPE_CHECKING:
    from runtime.tables.csv.reader import Source

PEEK_SIZE = 512  # bytes: the magic number of a tar archive stands at 257


class CountedSource(Protocol):
    """A ``Source`` that knows how far it has come."""

    @property
    def bytes_read(self) -> int:
        """Bytes taken from where they are stored, in the unit of the file's size."""

    def read(self, size: int, /) -> bytes | None:
        """Give at most ``size`` bytes, none at the end, None where there are none for now."""


class PeekedSource:
    """A source whose first bytes can be looked at before they are read."""

    def __init__(self, source: Source | CountedSource, *, where: str) -> None:
        """Take over a source.

        Args:
            source: at its beginning. Where it counts what it takes from a file, that counts.
            where: name of the table for messages.
        """
        self._source = source
        self._where = where
        self._ahead = b""
        self._given = 0

    @property
    def bytes_read(self) -> int:
        """Bytes taken from where they are stored."""
        stored: int | None = getattr(self._source, "bytes_read", None)
        return self._given if stored is None else stored

    def peek(self, size: int = PEEK_SIZE) -> bytes:
        """Look at the first bytes; they are still there for ``read``.

        Args:
            size: how many bytes.

        Returns:
            So many bytes, fewer where the source ends before.

        Raises:
            DataError: when the source cannot be read.
        """
        while len(self._ahead) < size:
            try:
                piece = self._source.read(size - len(self._ahead))
            except OSError as exc:
                raise DataError(f"cannot read {self._where}: {exc.strerror}") from exc
            if piece is None:
                raise not_waiting(self._where)
            if not piece:
                break
            self._ahead += piece
        return self._ahead[:size]

    def read(self, size: int, /) -> bytes | None:
        """Give at most ``size`` bytes, none at the end, None where there are none for now."""
        if self._ahead:
            piece: bytes | None = self._ahead[:size]
            self._ahead = self._ahead[size:]
        else:
            piece = self._source.read(size)
        self._given += len(piece or b"")
        return piece


def not_waiting(where: str) -> DataError:
    """Describe a source that has neither data nor an end: half of it must not pass for all."""
    return DataError(f"{where} does not wait for its writer (it is non-blocking)")
