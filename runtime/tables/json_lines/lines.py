"""Find the lines of a text: LF, CRLF and CR end one, and blank lines are told apart."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from runtime.tables.csv.records import find_line_ends
from runtime.value import Value

_LF, _CR, _SPACE, _TAB = b"\n\r \t"
BLANKS = b" \t"
Positions = npt.NDArray[np.int64]


class Lines(Value, frozen=True):
    """Lines of a text, in order.

    Attributes:
        starts: ``(n,)`` int64, first byte of each line.
        stops: ``(n,)`` int64, first byte of each line's end.
        ends: ``(n,)`` int64, first byte after each line's end.
    """

    starts: Positions
    stops: Positions
    ends: Positions


def find_lines(data: bytes, *, at_end: bool) -> Lines:
    """Find the lines that are there as a whole.

    Args:
        data: text that begins at the start of a line.
        at_end: nothing follows: what is left after the last line end is a line too. Otherwise
            it is none yet, and neither is a line whose carriage return is the last byte.

    Returns:
        The lines, blank ones included.
    """
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
    return Lines(np.append(0, ends[:-1])[: len(ends)], stops, ends)


def find_filled(data: bytes, lines: Lines) -> npt.NDArray[np.bool_]:
    """Tell lines with something in them from those that are empty, or spaces and tabs alone.

    Args:
        data: the text.
        lines: of that text.

    Returns:
        ``(n,)`` bool.
    """
    filled: npt.NDArray[np.bool_] = lines.stops > lines.starts
    text = np.frombuffer(data, dtype=np.uint8)
    first = text[lines.starts[filled]]
    for index in np.flatnonzero(filled)[(first == _SPACE) | (first == _TAB)].tolist():
        filled[index] = bool(data[lines.starts[index] : lines.stops[index]].strip(BLANKS))
    return filled
