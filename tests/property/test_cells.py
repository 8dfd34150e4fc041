"""The quick way through clean cells and the careful one through others are one."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import numpy as np
from hypothesis import example, given
from hypothesis import strategies as st

from runtime.tables.csv_reader import Block
from runtime.tables.feature_cells import parse_features

if TYPE_CHECKING:
    from runtime.tables.table import Parsed

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


def parse(values: list[bytes]) -> Parsed:
    """Read cells, each quoted, as a table of two columns reads them."""
    pieces = [b'\n"' + cell.replace(b'"', b'""') + b'",0' for cell in values]
    bounds = np.cumsum([0, *map(len, pieces)])
    return parse_features(Block(b"".join(pieces), bounds, 1, 1), ("x", "y"), (0,))


def expected(cell: bytes) -> np.float32 | None:
    """Read a cell with Python's own float, rounded once; None for what is no number."""
    if NUMBER.fullmatch(cell) is None:
        return None
    with np.errstate(over="ignore"):
        value = np.float32(float(cell))
    return value if np.isfinite(value) else None


@given(cells)
@example(b"1\n")
@example(b" 1 ")
@example(b"+1")
@example(b"1e400")
@example(b"-0")
@example(b"nan")
@example(b"1_0")
@example("١٢".encode())
@example(b"1\0")
@example(b"1.00000005960464477539062500000000000000000000000001")
@example(b"3.4028235677973362e38")
def test_both_ways_read_a_cell_as_python_does(cell: bytes) -> None:
    """The same cells are numbers, with the same bits, alone and beside a cell that is none."""
    value = expected(cell)
    numbers = b"" if value is None else value.tobytes()
    alone = parse([cell])
    assert alone.features.tobytes() == numbers
    assert len(alone.bad) == (value is None)
    beside = parse([cell, b"no"])
    assert beside.features.tobytes() == numbers
    assert len(beside.bad) == 1 + (value is None)


@given(st.lists(cells, min_size=1, max_size=30))
def test_cells_are_read_one_by_one(values: list[bytes]) -> None:
    """What surrounds a cell changes nothing: answers of a block are those of its cells."""
    parsed = parse(values)
    wanted = [expected(cell) for cell in values]
    assert parsed.features.tobytes() == b"".join(
        value.tobytes() for value in wanted if value is not None
    )
    assert [row.record for row in parsed.bad] == [
        number for number, value in enumerate(wanted, 1) if value is None
    ]


@given(st.floats(width=32, allow_nan=False, allow_infinity=False))
def test_a_float32_survives_being_written_and_read(value: float) -> None:
    """What the shortest or the longest digits say of a float32 reads back as that number."""
    number = np.float32(value)
    for text in (str(number), repr(float(number)), f"{float(number):.160f}"):
        assert parse([text.encode()]).features.tobytes() == number.tobytes()
