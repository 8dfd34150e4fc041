"""What counts as a number in a cell, and why a cell is not one."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pyarrow as pa

from runtime.tables.arrays import bool_scalar, float64_values, number_scalar, number_values
from runtime.tables.dates import is_temporal
from runtime.tables.dialect import COMMA, Dialect

if TYPE_CHECKING:
    import numpy.typing as npt

    from runtime.choices import Decimal
    from runtime.tables.dialect import Dialect

    Mask = npt.NDArray[np.bool_]
    Numbers = npt.NDArray[np.float64]
    # Numbers, numbers with a mask, or texts: pyarrow publishes no types.
    Column = Any
    Places = npt.NDArray[np.int32]


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
    """Read cells as float64, correctly rounded."""
    import pyarrow.compute as pc

    is_number = pc.match_substring_regex(cells, rf"\A{_NUMBER[decimal]}\z")
    text = pc.if_else(is_number, cells, pa.nulls(1, pa.binary())[0]).cast(pa.string())
    if decimal != ".":
        text = pc.replace_substring(text, decimal, ".")
    values = pc.cast(pc.ascii_trim(text, " \t"), pa.float64())
    return float64_values(pc.fill_null(values, number_scalar(np.float64(np.nan))))


def explain_cell(cell: bytes, dialect: Dialect = COMMA) -> str:
    """Say why a cell is not a number the model can read."""
    if not cell.strip(b" \t"):
        return MISSING
    try:
        text = dialect.encoding.decode(cell)
    except UnicodeDecodeError:
        return UNDECODABLE
    if re.fullmatch(_NUMBER[dialect.decimal], text):
        return OUT_OF_RANGE
    return NOT_FINITE if re.fullmatch(_NOT_FINITE, text, re.IGNORECASE) else NOT_A_NUMBER


_FILLED: Final = rb"[^ \t]"


def split_missing(column: pa.Array) -> tuple[Numbers, Mask]:
    """Take numbers of which some are missing."""
    import pyarrow.compute as pc

    missing = bool_values(pc.is_null(column))
    numbers = pc.fill_null(column, number_scalar(np.float64(np.nan)))
    return number_values(numbers), missing


def find_missing(cells: pa.Array) -> Mask:
    """Find cells that are missing: null, or nothing but blanks."""
    import pyarrow.compute as pc

    if is_temporal(cells.type):
        return bool_values(pc.is_null(cells))
    filled = pc.fill_null(pc.match_substring_regex(cells, _FILLED), bool_scalar(False))
    return ~bool_values(filled)


def bool_values(truths: pa.Array) -> Mask:
    """View truths without nulls as ``(rows,)`` bool."""
    numbers = truths.cast("uint8")
    whole = numbers.combine_chunks() if hasattr(numbers, "chunks") else numbers
    mask: Mask = number_values(whole).astype(np.bool_)
    return mask
