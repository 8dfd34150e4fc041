"""Read delimited text as blocks of whole records, and the feature cells of a block.

In: a binary stream. Out: ``Block`` s in order, each the very bytes that were read; from a block,
a float32 matrix of its good records and a ``BadRow`` for every other. Raises ``DataError`` for
a file that is no table.
"""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as arrow_csv

from runtime.errors import DataError
from runtime.schema import Float32Matrix, to_float32
from runtime.tables.arrow import (
    binary_scalar,
    bool_array,
    float64_values,
    split_bytes,
    whole_bytes,
)
from runtime.tables.cells import parse_numbers, why_bad
from runtime.tables.records import Positions, count_lines, find_breaks, find_delimiters

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

BLOCK_SIZE = 512 * 1024  # bytes a read: enough to fill the engine, little memory
_LONGEST_RECORD = 64 * 1024 * 1024  # bytes; longer means a quote that never closes
_DELIMITER = b","
_BOM = b"\xef\xbb\xbf"

TOO_FEW = "too few fields"
TOO_MANY = "too many fields"
NO_ANSWER = "no finite answer from the model"


class Source(Protocol):
    """Where bytes come from: an unbuffered file or pipe."""

    def read(self, size: int, /) -> bytes | None:
        """Give at most ``size`` bytes, none at the end, None where there are none for now."""


@dataclass(frozen=True, slots=True)
class Header:
    """The first record of a table.

    Attributes:
        columns: the names, quotes removed.
        text: the record as it was read, byte order mark included, terminator excluded.
        terminator: what ends the record.
    """

    columns: tuple[str, ...]
    text: bytes
    terminator: bytes


@dataclass(frozen=True, slots=True)
class Block:
    """Consecutive records as they were read.

    ``data`` begins with the terminator of the record before and ends before the terminator of
    its last record, so that ``data[bounds[i]:bounds[i + 1]]`` is a line break and record ``i``:
    appending to each such piece appends a field to each record.

    Attributes:
        data: the bytes.
        bounds: ``(records + 1,)`` int64.
        first_record: number of the first record, counted from 1 after the header.
        first_line: number of the line that ends where ``data`` begins, counted from 1.
    """

    data: bytes
    bounds: Positions
    first_record: int
    first_line: int

    def __len__(self) -> int:
        return len(self.bounds) - 1

    def text(self, index: int) -> bytes:
        """Return record ``index`` of the block without its line break."""
        return self.data[self.bounds[index] : self.bounds[index + 1]].lstrip(b"\r\n")

    def pieces(self) -> pa.Array:
        """View the records as ``(records,)`` binary, each led by its line break; not copied."""
        return split_bytes(self.data, self.bounds.astype(np.int32))


@dataclass(frozen=True, slots=True)
class BadRow:
    """A record that cannot be scored.

    Attributes:
        record: its number, counted from 1 after the header.
        line: number of the physical line on which it starts.
        column: of the first bad cell; empty when the record as a whole is at fault.
        value: of that cell.
        reason: why.
        text: the record as it was read.
    """

    record: int
    line: int
    column: str
    value: str
    reason: str
    text: bytes


@dataclass(frozen=True, slots=True)
class _Fault:
    """Why a record cannot be scored; ``column`` and ``value`` as in ``BadRow``."""

    reason: str
    column: str = ""
    value: str = ""


@dataclass(frozen=True, slots=True)
class Parsed:
    """The feature cells of a block.

    Attributes:
        features: ``(good records, n_features)`` float32, finite.
        good: ``(records,)`` bool, or None when every record is good.
        bad: one entry for every other record, in order.
    """

    features: Float32Matrix
    good: npt.NDArray[np.bool_] | None
    bad: tuple[BadRow, ...]


class CsvReader:
    """A table read as a stream of blocks."""

    def __init__(self, stream: Source, *, where: str, block_size: int = BLOCK_SIZE) -> None:
        """Read the header.

        Args:
            stream: delimited text in UTF-8, with or without a byte order mark.
            where: name of the table for messages.
            block_size: bytes asked for in one read.

        Raises:
            DataError: when there is no header, or it is no text.
        """
        self._stream = stream
        self._where = where
        self._block_size = block_size
        self.bytes_read = 0
        self.tail = b""
        self.header, self._rest = self._read_header()

    def blocks(self) -> Iterator[Block]:
        """Read the records.

        Yields:
            Blocks in order; afterwards ``tail`` is what follows the last record.

        Raises:
            DataError: when a record is longer than 64 MiB, as after a quote that never closes.
        """
        record, line = 1, count_lines(self.header.text) + 1
        keep_blank = len(self.header.columns) == 1
        rest, at_end = self._rest, False
        while not at_end:
            chunk = self._read(at_least=len(rest))  # doubling: a long record is not scanned again
            at_end = not chunk
            rest += chunk
            bounds = self._bounds(rest, line, keep_blank=keep_blank, at_end=at_end)
            if len(bounds) > 1:
                block = Block(rest[: bounds[-1]], bounds, record, line)
                yield block
                record += len(block)
                line += count_lines(block.data)
                rest = rest[bounds[-1] :]
            if len(rest) > _LONGEST_RECORD:
                raise DataError(
                    f"{self._where}: record {record} is longer than 64 MiB; "
                    "a quoted field probably never closes"
                )
        self.tail = rest

    def _bounds(self, data: bytes, first_line: int, *, keep_blank: bool, at_end: bool) -> Positions:
        """Find the pieces of line break and record that ``data`` begins with.

        A record counts only when its terminator is there too, or the table ends.
        """
        breaks = find_breaks(data, _DELIMITER[0])
        starts, ends = breaks.starts, breaks.ends
        if at_end and breaks.in_quotes:
            line = first_line + count_lines(data[: starts[-1]]) + 1
            raise DataError(
                f"{self._where}: a quote in the record on line {line} never closes; "
                "every record after it would be lost"
            )
        if at_end and len(ends) and ends[-1] < len(data):
            starts = np.append(starts, len(data))
            ends = np.append(ends, len(data))
        if not keep_blank:  # a blank line is no record: it stays with the record after it
            follows_record = np.append(True, starts[1:] > ends[:-1])
            starts = starts[follows_record[: len(starts)]]
        return starts

    def _read(self, at_least: int = 0) -> bytes:
        """Read a block; a pipe gives it in pieces, and between them a signal can be heard."""
        pieces: list[bytes] = []
        missing = max(self._block_size, at_least)
        while missing > 0:
            try:
                piece = self._stream.read(missing)
            except OSError as exc:
                raise DataError(f"cannot read {self._where}: {exc.strerror}") from exc
            if piece is None:  # neither data nor the end: half a table would pass for a whole one
                raise DataError(f"{self._where} does not wait for its writer (it is non-blocking)")
            if not piece:
                break
            pieces.append(piece)
            missing -= len(piece)
        chunk = b"".join(pieces)
        self.bytes_read += len(chunk)
        return chunk

    def _read_header(self) -> tuple[Header, bytes]:
        data = self._read()
        if not data:
            raise DataError(f"{self._where} is empty; a table begins with a line of column names")
        while True:
            breaks = find_breaks(data.removeprefix(_BOM), _DELIMITER[0])
            if len(breaks.starts) and not data.endswith(b"\r"):
                break
            chunk = self._read()
            if not chunk:
                break
            data += chunk
            if len(data) > _LONGEST_RECORD:
                raise DataError(f"{self._where} has no line end in its first 64 MiB: no CSV table")
        if breaks.in_quotes and not len(breaks.starts):
            raise DataError(f"{self._where}: a quote in the header never closes")
        skip = len(data) - len(data.removeprefix(_BOM))
        start, end = (
            (int(breaks.starts[0]) + skip, int(breaks.ends[0]) + skip)
            if len(breaks.starts)
            else (len(data), len(data))
        )
        text = data[:start]
        header = Header(self._names(text[skip:]), text, data[start:end] or b"\n")
        return header, data[start:]

    def _names(self, text: bytes) -> tuple[str, ...]:
        try:
            decoded = text.decode()
        except UnicodeDecodeError as exc:
            raise DataError(
                f"{self._where}: the header is no UTF-8 text (byte {exc.start + 1}); "
                "is this a CSV table?"
            ) from exc
        if "\0" in decoded:
            raise DataError(f"{self._where}: the header has NUL bytes; is this a CSV table?")
        try:
            names = next(csv.reader(io.StringIO(decoded, newline="")), [])
        except csv.Error as exc:
            raise DataError(f"{self._where}: the header is no CSV record: {exc}") from exc
        if not any(names):
            raise DataError(f"{self._where} has no column names in its first line")
        return tuple(names)


def parse_features(block: Block, columns: Sequence[str], features: Sequence[int]) -> Parsed:
    """Read the feature cells of a block's records.

    Args:
        block: the records.
        columns: names of the table's columns.
        features: positions of the feature columns, in the schema's order.

    Returns:
        The good records as a matrix, and the others with their reasons.
    """
    matrix = _parse_clean(block, len(columns), features)
    if matrix is not None:
        return Parsed(matrix, None, ())
    return _parse_dirty(block, columns, features)


def without_answer(block: Block, parsed: Parsed, answered: npt.NDArray[np.bool_]) -> Parsed:
    """Count good records that the model has no answer for among the bad ones.

    Args:
        block: the records.
        parsed: what was read from them.
        answered: ``(good records,)`` bool.

    Returns:
        The records that are both good and answered, and all others with their reasons.
    """
    good = np.ones(len(block), dtype=np.bool_) if parsed.good is None else parsed.good.copy()
    lost = np.flatnonzero(good)[~answered]
    good[lost] = False
    bad = [*parsed.bad, *_bad_rows(block, dict.fromkeys(lost.tolist(), _Fault(NO_ANSWER)))]
    return Parsed(parsed.features[answered], good, tuple(sorted(bad, key=lambda row: row.record)))


def _parse_clean(block: Block, n_columns: int, features: Sequence[int]) -> Float32Matrix | None:
    """Parse a block in which every record is good; None when one is not."""
    try:
        table = _arrow_read(block.data, n_columns, features, pa.float64())
    except pa.ArrowInvalid:
        return None
    if table.num_rows != len(block) or any(column.null_count for column in table.columns):
        return None
    matrix = to_float32([float64_values(table.column(str(position))) for position in features])
    return matrix if np.isfinite(matrix).all() else None


def _parse_dirty(block: Block, columns: Sequence[str], features: Sequence[int]) -> Parsed:
    """Parse a block with bad records in it, each cell looked at."""
    delimiters = find_delimiters(block.data, _DELIMITER[0])
    n_fields = np.diff(np.searchsorted(delimiters, block.bounds)) + 1
    fits = n_fields == len(columns)
    cells = _read_cells(block, fits, len(columns), features)
    matrix = to_float32([parse_numbers(column) for column in cells])
    usable = np.isfinite(matrix)
    good = fits & usable.all(axis=1)
    faults: dict[int, _Fault] = {}
    for index in np.flatnonzero(~good).tolist():
        if fits[index]:
            first = int(np.argmin(usable[index]))
            faults[index] = _bad_cell(columns[features[first]], cells[first][index].as_py())
        else:
            faults[index] = _misfit(int(n_fields[index]), len(columns))
    return Parsed(matrix[good], good, tuple(_bad_rows(block, faults)))


def _read_cells(
    block: Block, fits: npt.NDArray[np.bool_], n_columns: int, features: Sequence[int]
) -> list[pa.ChunkedArray]:
    """Read the feature cells as they are written; those of misfits mean nothing."""
    data = block.data
    if not fits.all():
        # Something that fits stands in; its line break joins none before or after it.
        stand_in = binary_scalar(b"\r" + _DELIMITER * (n_columns - 1) + b"0")
        data = bytes(whole_bytes(pc.if_else(bool_array(fits), block.pieces(), stand_in)))
    table = _arrow_read(data, n_columns, features, pa.binary())
    if table.num_rows != len(block):
        raise RuntimeError(
            f"found {len(block)} records from {block.first_record} on, parsed {table.num_rows}"
        )
    return [table.column(str(position)) for position in features]


def _arrow_read(
    data: bytes, n_columns: int, features: Sequence[int], kind: pa.DataType
) -> pa.Table:
    """Let pyarrow split a block's bytes into fields and convert those of the feature columns."""
    if n_columns == 1:  # here an empty line is a record, also as the first or last one
        data = _without_first_break(data) + b"\r"  # which joins no line break before it
    wanted = [str(position) for position in features]
    return arrow_csv.read_csv(
        pa.BufferReader(data),
        read_options=arrow_csv.ReadOptions(
            use_threads=False,
            block_size=len(data) + 1,
            column_names=[str(position) for position in range(n_columns)],
        ),
        parse_options=arrow_csv.ParseOptions(
            newlines_in_values=True, ignore_empty_lines=n_columns > 1
        ),
        convert_options=arrow_csv.ConvertOptions(
            include_columns=wanted,
            column_types=dict.fromkeys(wanted, kind),
            null_values=[""],
            strings_can_be_null=False,
        ),
    )


def _without_first_break(data: bytes) -> bytes:
    return data[2:] if data.startswith(b"\r\n") else data[1:]


def _misfit(found: int, expected: int) -> _Fault:
    reason = TOO_FEW if found < expected else TOO_MANY
    return _Fault(f"{reason} ({found} instead of {expected})")


def _bad_cell(column: str, cell: bytes) -> _Fault:
    return _Fault(why_bad(cell), column, cell.decode(errors="backslashreplace"))


def _bad_rows(block: Block, faults: Mapping[int, _Fault]) -> Iterator[BadRow]:
    """Report faults by record, in order; lines are counted once over the whole block."""
    line, counted = block.first_line, 0
    for index, fault in faults.items():
        text = block.text(index)
        start = int(block.bounds[index + 1]) - len(text)
        line += count_lines(block.data[counted:start])
        counted = start
        yield BadRow(
            record=block.first_record + index,
            line=line,
            column=fault.column,
            value=fault.value,
            reason=fault.reason,
            text=text,
        )
