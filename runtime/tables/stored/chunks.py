"""Read a stream in chunks of a size: the one loop that every text reader needs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from runtime.errors import DataError

if TYPE_CHECKING:
    from runtime.tables.csv.reader import Source

LONGEST_RECORD = 64 * 1024 * 1024  # bytes; what is longer is no record but another kind of file


def read_chunk(stream: Source, size: int, where: str) -> bytes:
    """Read a chunk; a pipe gives it in pieces, and between them a signal can be heard.

    Args:
        stream: where bytes come from.
        size: bytes wanted.
        where: name of the table for messages.

    Returns:
        ``size`` bytes; fewer only at the end.

    Raises:
        DataError: when the stream cannot be read, or has neither bytes nor an end.
    """
    pieces: list[bytes] = []
    while size > 0:
        try:
            piece = stream.read(size)
        except OSError as exc:
            raise DataError(f"cannot read {where}: {exc.strerror}") from exc
        if piece is None:  # neither data nor the end: half a table would pass for a whole one
            raise DataError(f"{where} does not wait for its writer (it is non-blocking)")
        if not piece:
            break
        pieces.append(piece)
        size -= len(piece)
    return b"".join(pieces)
