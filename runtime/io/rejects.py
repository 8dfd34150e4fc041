"""Files of rejected rows, which are no tables to score or to train on."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

from runtime.errors import DataError
from runtime.io.paths import is_regular
from runtime.io.sources import open_source, read_chunk

if TYPE_CHECKING:
    from runtime.io.paths import Location

REJECTS_HEADER: Final = ("record", "line", "column", "value", "reason", "text")
REJECTS_SOURCE: Final = "file"  # before these, of a table of several files
_FIRST_LINES: Final = tuple(
    ",".join(names).encode() + b"\n"
    for names in (REJECTS_HEADER, (REJECTS_SOURCE, *REJECTS_HEADER))
)
_MAX_BYTES: Final = max(map(len, _FIRST_LINES))


def is_rejects_file(path: Location) -> bool:
    """Return whether a file is a list of rejected rows, by its name's ending and first line."""
    if path.suffix != ".csv" or (isinstance(path, Path) and not is_regular(path)):
        return False
    try:
        with open_source(path) as stream:
            return begins_rejects(path, read_chunk(stream, _MAX_BYTES, str(path)))
    except DataError:  # reading it as a table explains
        return False


def begins_rejects(path: Location, head: bytes) -> bool:
    """Return the same of a file whose first bytes are known."""
    return path.suffix == ".csv" and head.startswith(_FIRST_LINES)
