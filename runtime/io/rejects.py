"""Files of rejected rows, which are no tables to score or to train on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pathlib import Path

REJECTS_HEADER: Final = ("record", "line", "column", "value", "reason", "text")
REJECTS_SOURCE: Final = "file"  # before these, of a table of several files
_FIRST_LINES: Final = tuple(
    ",".join(names).encode() + b"\n"
    for names in (REJECTS_HEADER, (REJECTS_SOURCE, *REJECTS_HEADER))
)
_MAX_BYTES: Final = max(map(len, _FIRST_LINES))


def is_rejects_file(path: Path) -> bool:
    """Return whether a file is a list of rejected rows, by its name's ending and first line."""
    try:
        if path.suffix != ".csv" or not path.is_file():
            return False
        with path.open("rb", buffering=0) as stream:
            return stream.read(_MAX_BYTES).startswith(_FIRST_LINES)
    except OSError:  # reading it as a table explains
        return False
