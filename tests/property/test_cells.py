"""The fast path for clean cells and the slow path agree."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.csv as arrow_csv
from hypothesis import example, given
from hypothesis import strategies as st

from runtime.encoding import PLAIN
from runtime.tables.cells import parse_numbers
from runtime.tables.csv.features import parse_features
from runtime.tables.csv.reader import Records
from runtime.tables.dialect import COMMA, Dialect

if TYPE_CHECKING:
    from runtime.tables.base import Parsed

# Written down a second time, on purpose: what counts as a number.
NUMBER = re.compile(rb"[ \t]*[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?[ \t]*")

cells = st.one_of(
    st.floats(width=64).map(repr).map(str.encode),
    st.floats(width=32, allow_nan=False, allow_infinity=False).map(repr).map(str.encode),
    st.from_regex(NUMBER, fullmatch=True),
    st.text(alphabet="0123456789+-.eE \t_,xnaif'\n\r\0٣", max_size=12).map(str.encode),
    st.lists(st.sampled_from([b"1", b"e", b".", b"-", b"\xff", b"\xc3", b" "]), max_size=6).map(
        b"".join
    ),
)


dialects = st.builds(Dialect, st.sampled_from([b",", b";"]), decimal=st.sampled_from([".", ","]))


def under(dialect: Dialect, cell: bytes) -> bytes:
    """Swap point and comma in a cell if the comma is the decimal sign."""
    return cell if dialect.decimal == "." else cell.translate(bytes.maketrans(b".,", b",."))


def parse(values: list[bytes], dialect: Dialect = COMMA) -> Parsed:
    """Parse quoted cells in a table of two columns."""
    values = [under(dialect, value) for value in values]
    end = b'"' + dialect.delimiter + b"0"
    pieces = [b'\n"' + cell.replace(b'"', b'""') + end for cell in values]
    bounds = np.cumsum([0, *map(len, pieces)])
    return parse_features(Records(b"".join(pieces), bounds, 1, 1, dialect), ("x", "y"), (0,), PLAIN)


def expected(cell: bytes) -> np.float32 | None:
    """Parse a cell with Python's float, rounded once; None if it is not a number."""
    if NUMBER.fullmatch(cell) is None:
        return None
    with np.errstate(over="ignore"):
        value = np.float32(float(cell))
    return value if np.isfinite(value) else None


@given(dialects, cells)
@example(COMMA, b"1\n")
@example(COMMA, b" 1 ")
@example(COMMA, b"+1")
@example(COMMA, b"1e400")
@example(COMMA, b"-0")
@example(COMMA, b"nan")
@example(COMMA, b"1_0")
@example(COMMA, "١٢".encode())
@example(COMMA, b"1\0")
@example(COMMA, b"1.00000005960464477539062500000000000000000000000001")
@example(COMMA, b"3.4028235677973362e38")
@example(Dialect(decimal=","), b"1.5")
@example(Dialect(decimal=","), b"1,5")
@example(Dialect(decimal=","), b"1.")
@example(Dialect(decimal=","), b".5e3 ")
@example(Dialect(decimal=","), b"1.00000005960464477539062500000000000000000000000001")
def test_both_ways_read_a_cell_as_python_does(dialect: Dialect, cell: bytes) -> None:
    """Cells parse to the same bits in blocks with and without bad cells."""
    value = expected(cell)
    numbers = b"" if value is None else value.tobytes()
    alone = parse([cell], dialect)
    assert alone.features.tobytes() == numbers
    assert len(alone.bad) == (value is None)
    beside = parse([cell, b"no"], dialect)
    assert beside.features.tobytes() == numbers
    assert len(beside.bad) == 1 + (value is None)


@given(dialects, st.lists(cells, min_size=1, max_size=30))
def test_cells_are_read_one_by_one(dialect: Dialect, values: list[bytes]) -> None:
    """Cells are parsed independently: a block yields the results of its cells."""
    parsed = parse(values, dialect)
    wanted = [expected(cell) for cell in values]
    assert parsed.features.tobytes() == b"".join(
        value.tobytes() for value in wanted if value is not None
    )
    assert [row.record for row in parsed.bad] == [
        number for number, value in enumerate(wanted, 1) if value is None
    ]


@given(dialects, cells)
@example(COMMA, b"-0")
@example(COMMA, b"4.9e-324")
@example(Dialect(decimal=","), b"0.1")
def test_both_ways_read_the_same_float64(dialect: Dialect, cell: bytes) -> None:
    """Before rounding to float32, pyarrow's converter and the slow path agree to the bit."""
    cell = under(dialect, cell)
    value = parse_numbers(pa.chunked_array([[cell]], pa.binary()), dialect.decimal)
    try:
        quick = convert_with_pyarrow(cell, dialect)
    except pa.ArrowInvalid:
        quick = np.array([np.nan])
    if np.isfinite(quick).all() or np.isfinite(value).all():
        assert quick.tobytes() == value.tobytes()


def convert_with_pyarrow(cell: bytes, dialect: Dialect) -> npt.NDArray[np.float64]:
    """Parse one cell of a column of numbers; None if it is missing."""
    table = arrow_csv.read_csv(
        pa.BufferReader(b'"' + cell.replace(b'"', b'""') + b'"' + dialect.delimiter + b"0\n"),
        read_options=arrow_csv.ReadOptions(column_names=["x", "y"]),
        parse_options=arrow_csv.ParseOptions(
            delimiter=dialect.delimiter.decode(), newlines_in_values=True
        ),
        convert_options=arrow_csv.ConvertOptions(
            column_types={"x": pa.float64()},
            include_columns=["x"],
            null_values=[""],
            decimal_point=dialect.decimal,
        ),
    )
    (number,) = table.column("x").to_pylist()
    return np.array([np.nan if number is None else number])


@given(st.floats(width=32, allow_nan=False, allow_infinity=False))
def test_a_float32_survives_being_written_and_read(value: float) -> None:
    """Shortest and longest digits of a float32 parse back to it."""
    number = np.float32(value)
    for text in (str(number), repr(float(number)), f"{float(number):.160f}"):
        assert parse([text.encode()]).features.tobytes() == number.tobytes()
