"""What counts as a number in a cell, and why a cell is not one.

A number is: blanks (space, tab) around it allowed; an optional sign; digits with an optional
decimal sign, which is the point unless the table's dialect says comma; an optional exponent
(``e`` or ``E``). No thousands separators, no other decimal sign, hexadecimal, underscores or
digits of other scripts. NaN and infinity written out are bad cells, and so is a number beyond
float32's range, because the model would answer NaN for it.
In: the content of cells. Out: float64, or the reason why not.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

import numpy as np
import pyarrow as pa

from runtime.tables.arrow import float64_values, number_scalar
from runtime.tables.delimited.dialect import COMMA, Dialect

if TYPE_CHECKING:
    import numpy.typing as npt

    from runtime.choices import Decimal

# Each text matches in one way at most: a cell of endless digits is refused in no time.
_NUMBER: Final[dict[Decimal, str]] = {
    ".": r"[ \t]*[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]+)?[ \t]*",
    ",": r"[ \t]*[+-]?([0-9]+(,[0-9]*)?|,[0-9]+)([eE][+-]?[0-9]+)?[ \t]*",
}
_NOT_FINITE = r"[ \t]*[+-]?(nan(\([a-z0-9_]*\))?|inf(inity)?)[ \t]*"

MISSING: Final = "missing value"
NOT_A_NUMBER: Final = "not a number"
NOT_FINITE: Final = "NaN or infinity"
OUT_OF_RANGE: Final = "out of float32's range"
UNDECODABLE: Final = "undecodable bytes"


def parse_numbers(cells: pa.ChunkedArray, decimal: Decimal = ".") -> npt.NDArray[np.float64]:
    """Read cells as float64, correctly rounded.

    Args:
        cells: ``(rows,)`` binary, quotes removed.
        decimal: the sign before a fraction.

    Returns:
        ``(rows,)`` float64; NaN for every cell that is not a number.
    """
    import pyarrow.compute as pc

    is_number = pc.match_substring_regex(cells, rf"\A{_NUMBER[decimal]}\z")
    text = pc.if_else(is_number, cells, pa.nulls(1, pa.binary())[0]).cast(pa.string())
    if decimal != ".":
        text = pc.replace_substring(text, decimal, ".")
    values = pc.cast(pc.ascii_trim(text, " \t"), pa.float64())
    return float64_values(pc.fill_null(values, number_scalar(np.float64(np.nan))))


def why_bad(cell: bytes, dialect: Dialect = COMMA) -> str:
    """Say why a cell is not a number the model can read.

    Args:
        cell: the content of a bad cell, quotes removed.
        dialect: its encoding and decimal sign.

    Returns:
        The reason.
    """
    if not cell.strip(b" \t"):
        return MISSING
    try:
        text = dialect.encoding.decode(cell)
    except UnicodeDecodeError:
        return UNDECODABLE
    if re.fullmatch(_NUMBER[dialect.decimal], text):
        return OUT_OF_RANGE
    return NOT_FINITE if re.fullmatch(_NOT_FINITE, text, re.IGNORECASE) else NOT_A_NUMBER
