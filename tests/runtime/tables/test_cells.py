from __future__ import annotations

import struct
from typing import TYPE_CHECKING

import numpy as np
import pytest

from runtime.encoding import PLAIN
from runtime.tables.csv.features import parse_features
from runtime.tables.csv.reader import Records

if TYPE_CHECKING:
    from runtime.tables.base import Parsed

NUMBERS = [
    "0", "1", "-1", "+1", "007", "1.", ".5", "-.5", "+0.5", "1e5", "1E5", "1e+5", "1e-5", "1.e2",
    " 1", "1 ", "\t1\t", " \t-1.5e3 \t", "-0", "-0.0", "0e999", "1e-46", "4.9e-324", "1e-400",
    "3.4028234663852886e38", "3.4028235677973362e38", "-3.4028235677973362e38",
    "0.1", "0.3", "16777217", "9007199254740993", "179769313486231570000",
    "1.00000005960464477539062500000000000000000000000001", "0" * 500 + "1", "0." + "0" * 400 + "1",
    "2.2250738585072011e-308", "1" + "0" * 38,
]  # fmt: skip

BAD = {
    "missing value": ["", " ", "\t", "  \t "],
    "not a number": [
        "x", ".", "+", "-", "e5", "1e", "1e+", "--1", "+-1", "- 1", "1 2", "1,5", "1.5.2", "1_0",
        "1'000", "1 000", "0x10", "0b1", "1f", "1d5", "1L", "1%", "$1", "1/2", "1\n", "\n1", "1\r",
        "\v1", "\f1", "\u00a01", "\u30001", "1\0", "\x001", "١٢", "１", "二", "Ⅳ", "½", "−1",
        "true", "NULL", "NA", "None", "\ufeff1", "nan1", "infinit", "in", "1nan", "#N/A", "1e5.5",
    ],
    "NaN or infinity": [
        "nan", "NaN", "NAN", "-nan", "+nan", " nan ", "nan(1)", "inf", "Inf", "-inf", "+inf",
        "INF", "infinity", "-Infinity", "\tinf",
    ],
    "out of float32's range": [
        "1e39", "-1e39", "1e400", "-1e400", "3.4028235677973366e38", "1e99999999999999999999",
        "1" * 400, "340282356779733661637539395458142568448",
    ],
}  # fmt: skip
UNDECODABLE = [b"\xff", b"1\xff", b"\xe9", b"\xc3", b"\xed\xa0\x80", b"\xa01"]


def parse(*cells: bytes) -> Parsed:
    """Read cells, each quoted, as a table of one column read them."""
    pieces = [b'\n"' + cell.replace(b'"', b'""') + b'"' for cell in cells]
    bounds = np.cumsum([0, *map(len, pieces)])
    return parse_features(Records(b"".join(pieces), bounds, 1, 1), ("x",), (0,), PLAIN)


def rounded(text: str) -> bytes:
    """The bits of a number by way of Python's float, rounded once to float32."""
    return struct.pack("<f", np.float32(float(text)))


@pytest.mark.parametrize("text", NUMBERS)
def test_a_number_is_rounded_correctly(text: str) -> None:
    """As float64 as Python reads it, then once to float32, to the bit; also beside a bad cell."""
    parsed = parse(text.encode())
    assert parsed.bad == ()
    assert parsed.features.astype("<f4").tobytes() == rounded(text)
    beside = parse(text.encode(), b"x")
    assert [row.record for row in beside.bad] == [2]
    assert beside.features.astype("<f4").tobytes() == rounded(text)


@pytest.mark.parametrize(
    ("cell", "reason"),
    [
        *[(text.encode(), reason) for reason, texts in BAD.items() for text in texts],
        *[(cell, "undecodable bytes") for cell in UNDECODABLE],
    ],
)
def test_what_is_no_number_is_refused_with_its_reason(cell: bytes, reason: str) -> None:
    """Separators, other scripts, inner blanks and words are not numbers."""
    for parsed in (parse(cell), parse(b"1", cell, b"2")):
        assert [row.reason for row in parsed.bad] == [reason]
    assert parsed.features.tolist() == [[1], [2]]


def test_a_long_bad_cell_is_reported_whole() -> None:
    """The reader does not truncate values."""
    cell = b"9" * 300_000 + b"x"
    (row,) = parse(cell).bad
    assert (row.reason, row.value) == ("not a number", cell.decode())
