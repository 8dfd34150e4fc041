"""Read the feature cells of a block of records.

In: a ``Block``. Out: a float32 matrix of its good records, and a ``BadRow`` for every other.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as arrow_csv

from runtime.schema import Float32Matrix, to_float32
from runtime.tables.arrow import (
    binary_scalar,
    bool_array,
    float64_values,
    whole_bytes,
)
from runtime.tables.cells import parse_numbers, why_bad
from runtime.tables.records import count_lines, find_delimiters

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from runtime.tables.csv_reader import Block
    from runtime.tables.dialect import Dialect

TOO_FEW = "too few fields"
TOO_MANY = "too many fields"
NO_ANSWER = "no finite answer from the model"


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
        table = _arrow_read(block.data, n_columns, features, block.dialect, pa.float64())
    except pa.ArrowInvalid:
        return None
    if table.num_rows != len(block) or any(column.null_count for column in table.columns):
        return None
    matrix = to_float32([float64_values(table.column(str(position))) for position in features])
    return matrix if np.isfinite(matrix).all() else None


def _parse_dirty(block: Block, columns: Sequence[str], features: Sequence[int]) -> Parsed:
    """Parse a block with bad records in it, each cell looked at."""
    delimiters = find_delimiters(block.data, block.dialect.delimiter[0])
    n_fields = np.diff(np.searchsorted(delimiters, block.bounds)) + 1
    fits = n_fields == len(columns)
    cells = _read_cells(block, fits, len(columns), features)
    matrix = to_float32([parse_numbers(column, block.dialect.decimal) for column in cells])
    usable = np.isfinite(matrix)
    good = fits & usable.all(axis=1)
    faults: dict[int, _Fault] = {}
    for index in np.flatnonzero(~good).tolist():
        if fits[index]:
            first = int(np.argmin(usable[index]))
            faults[index] = _bad_cell(
                columns[features[first]], cells[first][index].as_py(), block.dialect
            )
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
        stand_in = binary_scalar(b"\r" + block.dialect.delimiter * (n_columns - 1) + b"0")
        data = bytes(whole_bytes(pc.if_else(bool_array(fits), block.pieces(), stand_in)))
    table = _arrow_read(data, n_columns, features, block.dialect, pa.binary())
    if table.num_rows != len(block):
        raise RuntimeError(
            f"found {len(block)} records from {block.first_record} on, parsed {table.num_rows}"
        )
    return [table.column(str(position)) for position in features]


def _arrow_read(
    data: bytes, n_columns: int, features: Sequence[int], dialect: Dialect, kind: pa.DataType
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
            delimiter=dialect.delimiter.decode(),
            newlines_in_values=True,
            ignore_empty_lines=n_columns > 1,
        ),
        convert_options=arrow_csv.ConvertOptions(
            include_columns=wanted,
            column_types=dict.fromkeys(wanted, kind),
            null_values=[""],
            strings_can_be_null=False,
            decimal_point=dialect.decimal,
        ),
    )


def _without_first_break(data: bytes) -> bytes:
    return data[2:] if data.startswith(b"\r\n") else data[1:]


def _misfit(found: int, expected: int) -> _Fault:
    reason = TOO_FEW if found < expected else TOO_MANY
    return _Fault(f"{reason} ({found} instead of {expected})")


def _bad_cell(column: str, cell: bytes, dialect: Dialect) -> _Fault:
    value = dialect.encoding.decode(cell, "backslashreplace")
    return _Fault(why_bad(cell, dialect), column, value)


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
