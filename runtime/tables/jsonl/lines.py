"""Lines of JSON Lines in a chunk of bytes."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from runtime.tables.csv.records import FoundRecords, find_line_ends
from runtime.value import Value

if TYPE_CHECKING:
    import numpy.typing as npt

    from runtime.tables.base import Mask

    Positions = npt.NDArray[np.int64]

_LF, _SPACE, _TAB = b"\n \t"
_OPEN, _CLOSE = b"{}"


class Lines:
    """Consecutive non-blank lines, one record each.

    Attributes:
        data: the lines, with blank ones before them and their line ends.
        starts: ``(records,)`` int64, where their texts begin.
        stops: ``(records,)`` int64, where their texts end.
        bounds: ``(records + 1,)`` int64, ends of the lines, after 0.
    """

    def __init__(self, data: bytes, starts: Positions, stops: Positions, ends: Positions) -> None:
        """Hold lines; ``ends`` are those of their line ends."""
        self.starts, self.stops = starts, stops
        self.bounds: Positions = np.append(0, ends)
        self.data = data[: self.bounds[-1]]

    def __len__(self) -> int:
        return len(self.starts)

    def text(self, index: int) -> bytes:
        """Return a record without its line end."""
        return self.data[self.starts[index] : self.stops[index]]

    def texts(self) -> list[bytes]:
        """Return all records without their line ends."""
        spans = zip(self.starts.tolist(), self.stops.tolist(), strict=True)
        return [self.data[start:stop] for start, stop in spans]

    def take(self, indices: Positions) -> Lines:
        """Copy some of the records."""
        texts = [self.text(index) for index in indices.tolist()]
        ends = np.cumsum([len(text) + 1 for text in texts])
        starts = np.append(0, ends[:-1])
        return Lines(b"\n".join([*texts, b""]), starts, ends - 1, ends)

    @cached_property
    def framed(self) -> Mask:
        """Mark records that begin and end with a brace: ``(records,)`` bool.

        msgspec also accepts several records on a line, and one over several lines. Between ``}``
        and ``{`` only the end of a record is valid: as many records as framed lines are one a line.
        """
        text = np.frombuffer(self.data, dtype=np.uint8)
        marked: Mask = (text[self.starts] == _OPEN) & (text[self.stops - 1] == _CLOSE)
        return marked


class JsonLinesRecords(Value, frozen=True):
    """Finds records in complete lines; see ``runtime.tables.division.FindRecords``."""

    def __call__(self, lines: bytes, *, inside: bool) -> FoundRecords:  # noqa: ARG002 - no line end is quoted
        """Find records, which end with their line ends."""
        found = find_records(lines, at_end=True)
        return FoundRecords(len(found), int(found.bounds[1]), 1) if len(found) else FoundRecords(0)


def find_records(data: bytes, *, at_end: bool) -> Lines:
    """Find the complete non-blank lines (LF, CRLF or CR); at the end without a line end, too."""
    text = np.frombuffer(data, dtype=np.uint8)
    if b"\r" in data:
        stops, ends = find_line_ends(text)
        if not at_end and data.endswith(b"\r"):
            stops, ends = stops[:-1], ends[:-1]
    else:
        stops = np.flatnonzero(text == _LF)
        ends = stops + 1
    if at_end and (ends[-1] if len(ends) else 0) < len(data):
        stops, ends = np.append(stops, len(data)), np.append(ends, len(data))
    starts = np.append(0, ends[:-1])[: len(ends)]
    filled = stops > starts
    first = text[starts]
    for index in np.flatnonzero(filled & ((first == _SPACE) | (first == _TAB))).tolist():
        filled[index] = bool(data[starts[index] : stops[index]].strip(b" \t"))
    return Lines(data, starts[filled], stops[filled], ends[filled])
