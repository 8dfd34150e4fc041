"""Find the ends of records in delimited text (RFC 4180 with LF, CRLF or CR)."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from runtime.value import Value

_LF, _CR, _QUOTE = b'\n\r"'
Offsets = npt.NDArray[np.int64]


class RecordEnds(Value, frozen=True):
    """The terminators of records in a text.

    Attributes:
        starts: ``(n,)`` int64, offset of each terminator.
        ends: ``(n,)`` int64, offset after it.
        in_quotes: whether the text ends inside quotes.
    """

    starts: Offsets
    ends: Offsets
    in_quotes: bool


def find_record_ends(data: bytes, delimiter: int) -> RecordEnds:
    """Find line ends outside of quotes."""
    text = np.frombuffer(data, dtype=np.uint8)
    if b"\r" in data:
        starts, ends = find_line_ends(text)
    else:
        starts = np.flatnonzero(text == _LF)
        ends = starts + 1
    if b'"' not in data:
        return RecordEnds(starts, ends, in_quotes=False)
    quotes = _find_quotes(text, delimiter)
    outside = np.searchsorted(quotes, starts) % 2 == 0
    return RecordEnds(starts[outside], ends[outside], in_quotes=len(quotes) % 2 == 1)


class FoundRecords(Value, frozen=True):
    """The records that end in some lines of text.

    Attributes:
        count: of them.
        cut: offset of the first place where a span can begin; None if there is none.
        before: number of those before it.
        inside: whether the text ends inside quotes.
    """

    count: int
    cut: int | None = None
    before: int = 0
    inside: bool = False


class CsvRecords(Value, frozen=True):
    """Finds records in complete lines; see ``runtime.tables.division.FindRecords``.

    Attributes:
        delimiter: a byte.
        keeps_blank: whether a blank line is a record, as in tables of one column.
    """

    delimiter: int
    keeps_blank: bool

    def __call__(self, lines: bytes, *, inside: bool) -> FoundRecords:
        """Find records, whose line ends are between them; the text may begin inside quotes."""
        if b'"' not in lines and inside:
            return FoundRecords(0, inside=True)
        found = find_record_ends(b'"' * inside + lines, self.delimiter)
        filled = np.flatnonzero(found.starts > np.append(0, found.ends[:-1]))
        records = len(found.starts) if self.keeps_blank else len(filled)
        if not len(filled):
            return FoundRecords(records, inside=found.in_quotes)
        # A blank record at the end of a span would be taken for the end of its last line.
        first = int(filled[0])
        before = first + 1 if self.keeps_blank else 1
        cut = int(found.starts[first]) - inside
        return FoundRecords(records, cut, before, inside=found.in_quotes)


def find_delimiters(data: bytes, delimiter: int) -> Offsets:
    """Find delimiters outside of quotes."""
    text = np.frombuffer(data, dtype=np.uint8)
    found: Offsets = np.flatnonzero(text == delimiter)
    if b'"' not in data:
        return found
    outside: npt.NDArray[np.bool_] = np.searchsorted(_find_quotes(text, delimiter), found) % 2 == 0
    return found[outside]


def count_lines(data: bytes) -> int:
    """Count line ends (LF, CRLF or CR), also within quotes."""
    if b"\r" not in data:  # ten times as fast, and without the GIL
        return int(np.count_nonzero(np.frombuffer(data, dtype=np.uint8) == _LF))
    return data.count(b"\n") + data.count(b"\r") - data.count(b"\r\n")


def find_line_ends(text: npt.NDArray[np.uint8]) -> tuple[Offsets, Offsets]:
    """Find the start and end of each line end in text with carriage returns."""
    is_lf = text == _LF
    is_cr = text == _CR
    followed_by_lf = np.append(is_lf[1:], False)
    last = np.flatnonzero(is_lf | (is_cr & ~followed_by_lf))
    is_crlf = is_lf[last] & is_cr[last - 1] & (last > 0)
    return last - is_crlf, last + 1


def _find_quotes(text: npt.NDArray[np.uint8], delimiter: int) -> Offsets:
    """Find the quotes that open, close or are escaped in quoted fields.

    In regular text these are all quotes: each even-numbered one is at the start of a field, or
    follows a closing quote, which it escapes. Only stray quotes need the slow scan.
    """
    quotes = np.flatnonzero(text == _QUOTE)
    opening = quotes[::2]
    before = text[opening - 1]
    at_start = ((before == delimiter) | (before == _LF) | (before == _CR) | (before == _QUOTE)) | (
        opening == 0
    )
    # A quote after a quote is regular only if that one is the closing quote before it.
    doubled = np.flatnonzero(before == _QUOTE)
    doubled = doubled[opening[doubled] > 0]
    if at_start.all() and (quotes[2 * doubled - 1] == opening[doubled] - 1).all():
        return quotes
    return _scan_quotes(text, quotes, delimiter)


def _scan_quotes(text: npt.NDArray[np.uint8], quotes: Offsets, delimiter: int) -> Offsets:
    """Skip stray quotes, one by one."""
    field_starts = frozenset((delimiter, _LF, _CR))
    real: list[int] = []
    inside = False
    closed_at = -2
    for offset in quotes.tolist():
        if inside:
            inside = False
            closed_at = offset
        elif closed_at == offset - 1 or offset == 0 or int(text[offset - 1]) in field_starts:
            inside = True
        else:
            continue  # an ordinary character of an unquoted field
        real.append(offset)
    return np.asarray(real, dtype=np.int64)
