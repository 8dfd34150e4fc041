"""Divide a table into spans of records that several processes read by themselves.

Plain text is divided at the ends of records. Whether a line end is quoted depends on all quotes
before it, so windows of the text are scanned under both assumptions, at once where there are
processes for it, and the scans are then joined in order. That also counts records and lines, which
messages name. Columnar files are divided by rows, near their row groups.
"""

from __future__ import annotations

from itertools import zip_longest
from typing import TYPE_CHECKING, Final, Protocol

from runtime.errors import DataError
from runtime.io.sources import MAX_RECORD_BYTES, open_range, read_chunk, source_name
from runtime.surfaces import option
from runtime.tables.csv.records import count_lines
from runtime.tables.spans import Span
from runtime.value import Value

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import Any

    from runtime.io.paths import Location
    from runtime.tables.csv.records import FoundRecords

WINDOW_BYTES: Final = 64 * 1024 * 1024  # of plain text; many more than there are workers
_MAX_WINDOWS: Final = 1024
_READ_BYTES: Final = 4 * 1024 * 1024
_COLUMNAR_BYTES: Final = 32 * 1024 * 1024


class FindRecords(Protocol):
    """Finds records in complete lines of a text format; picklable."""

    def __call__(self, lines: bytes, *, inside: bool) -> FoundRecords:
        """Find the records that end in some lines.

        Args:
            lines: text that begins after a line end, and ends with one.
            inside: whether it begins inside quotes.

        Returns:
            Their number, and where a span can begin, which is after one that is not blank.
        """


class TextLayout(Value, frozen=True):
    """Where the records of a table of plain text are.

    Attributes:
        start: byte at which the first span begins.
        line: number of the line there, counted from 1.
        scanned: byte from which the text is scanned, at the beginning of a line.
        find: finds records.
    """

    start: int
    line: int
    scanned: int
    find: FindRecords


class Window(Value, frozen=True):
    """A part of a text to be scanned, between the first line ends at or after two bytes.

    Attributes:
        source: an absolute location.
        start: byte; at the beginning of a line in the first window.
        stop: byte; None for the end of the text.
        find: finds records.
        is_first: whether it begins where a line does.
    """

    source: Location
    start: int
    stop: int | None
    find: FindRecords
    is_first: bool


class Cut(Value, frozen=True):
    """A place where a span can begin, with the records and lines that the window has before it."""

    at: int
    records: int
    lines: int


class Assumption(Value, frozen=True):
    """What a window has if it begins outside, or inside, quotes.

    Attributes:
        first: the first place where a span can begin.
        records: number of records that end in it.
        ends_inside: whether it ends inside quotes.
    """

    first: Cut | None
    records: int
    ends_inside: bool


class WindowScan(Value, frozen=True):
    """What was found in a window: the number of line ends, and the rest under both assumptions."""

    lines: int
    outside: Assumption
    inside: Assumption


def divide_text(source: Location, layout: TextLayout, window_bytes: int) -> tuple[Window, ...]:
    """Divide a text into windows; one for a small text."""
    size = source.stat().st_size
    step = max(window_bytes, -(-size // _MAX_WINDOWS))
    starts = range(layout.scanned, max(size, layout.scanned + 1), step)
    return tuple(
        Window(source, start, stop, layout.find, is_first=start == layout.scanned)
        for start, stop in zip_longest(starts, starts[1:])
    )


def scan_window(window: Window) -> WindowScan:
    """Scan a window for the ends of records; raises ``DataError`` when it cannot be read."""
    outside, inside = _Scanner(window.find, inside=False), _Scanner(window.find, inside=True)
    lines = 0
    for at, text in _read_lines(window):
        outside.add(at, text, lines)
        inside.add(at, text, lines)
        lines += count_lines(text)
    return WindowScan(lines, outside.result(), inside.result())


class _Scanner:
    """Finds the ends of records under an assumption."""

    def __init__(self, find: FindRecords, *, inside: bool) -> None:
        self._find, self._inside = find, inside
        self._records = 0
        self._first: Cut | None = None

    def add(self, at: int, lines: bytes, counted: int) -> None:
        """Scan the next lines, at a byte, after as many lines."""
        found = self._find(lines, inside=self._inside)
        if self._first is None and found.cut is not None:
            before = counted + count_lines(lines[: found.cut])
            self._first = Cut(at + found.cut, self._records + found.before, before)
        self._records, self._inside = self._records + found.count, found.inside

    def result(self) -> Assumption:
        """What was found."""
        return Assumption(self._first, self._records, self._inside)


def _read_lines(window: Window) -> Iterator[tuple[int, bytes]]:
    """Read the complete lines of a window in pieces, with their offsets."""
    where, stop = source_name(window.source), window.stop
    at, rest, is_in, at_end = window.start, b"", window.is_first, False
    with open_range(window.source, window.start) as stream:
        while not at_end:
            chunk = read_chunk(stream, _READ_BYTES, where)
            rest, at_end = rest + chunk, len(chunk) < _READ_BYTES
            if not is_in:
                skipped = rest.find(b"\n") + 1
                is_in = skipped > 0
                skipped = skipped or len(rest)
                at, rest = at + skipped, rest[skipped:]
            if not is_in:
                continue
            if stop is not None and at > stop:
                return  # the window has no line end
            last = -1 if stop is None else rest.find(b"\n", stop - at)
            end = (last if last >= 0 else rest.rfind(b"\n")) + 1
            if end:
                yield at, rest[:end]
            at, rest = at + end, rest[end:]
            if last >= 0:
                return
            if len(rest) > MAX_RECORD_BYTES:
                raise DataError(
                    f"{where}: a line is longer than 64 MiB, so that the table is not divided "
                    f"among workers: leave {option('engine')} out"
                )


def join_scans(layout: TextLayout, scans: Sequence[WindowScan]) -> tuple[Span, ...]:
    """Join the scans of all windows, in order, to the spans of the text."""
    starts = [Span(layout.start, None, 1, layout.line)]
    inside, records = False, 0
    lines = layout.line - 1 + (layout.scanned > layout.start)
    for number, scan in enumerate(scans):
        found = scan.inside if inside else scan.outside
        if number and found.first:
            cut = found.first
            starts.append(Span(cut.at, None, records + cut.records + 1, lines + cut.lines + 1))
        records, lines, inside = records + found.records, lines + scan.lines, found.ends_inside
    return _close(starts)


def _close(starts: Sequence[Span]) -> tuple[Span, ...]:
    """Let each span end where the next one begins."""
    ends = [*(span.start for span in starts[1:]), None]
    return tuple(
        Span(span.start, end, span.first_record, span.first_line)
        for span, end in zip(starts, ends, strict=True)
    )


def divide_rows(metadata: Any, size: int, group_rows: int) -> tuple[Span, ...]:  # noqa: ANN401 - pyarrow publishes no types
    """Divide a Parquet file of some bytes near its row groups.

    Spans begin at multiples of ``group_rows``, the rows of the output's groups, so that they are
    written as those of the whole table; not far behind the beginning of a group that is read.
    """
    rows = metadata.num_rows
    step = max(rows * _COLUMNAR_BYTES // max(size, 1), rows // _MAX_WINDOWS, 1)
    step = -(-step // group_rows) * group_rows
    starts, group_start = [0], 0
    for number in range(metadata.num_row_groups):
        group_end = group_start + metadata.row_group(number).num_rows
        first = max(starts[-1] + step, -(-group_start // group_rows) * group_rows)
        if first < group_end and first - group_start <= step // 2:
            starts.append(first)
        group_start = group_end
    return _close([Span(start, None, start + 1) for start in starts if start < rows or not start])
