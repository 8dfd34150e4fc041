"""Numbers in cells: parse them, explain bad ones, and suggest options for other notations."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING, Final

import numpy as np
import pyarrow as pa

from runtime.surfaces import advise
from runtime.tables.arrays import (
    bool_scalar,
    bool_values,
    float64_values,
    number_scalar,
    number_values,
)
from runtime.tables.dates import is_temporal
from runtime.tables.dialect import COMMA, Dialect

if TYPE_CHECKING:
    from collections.abc import Sequence

    from runtime.choices import Decimal
    from runtime.tables.base import Mask, Numbers


MISSING: Final = "missing value"
NOT_A_NUMBER: Final = "not a number"
NOT_FINITE: Final = "NaN or infinity"
OUT_OF_RANGE: Final = "out of float32's range"
UNDECODABLE: Final = "undecodable bytes"

# Unambiguous patterns: no backtracking on long cells.
_NUMBER: Final[dict[Decimal, str]] = {
    ".": r"[ \t]*[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]+)?[ \t]*",
    ",": r"[ \t]*[+-]?([0-9]+(,[0-9]*)?|,[0-9]+)([eE][+-]?[0-9]+)?[ \t]*",
}
_NOT_FINITE = r"[ \t]*[+-]?(nan(\([a-z0-9_]*\))?|inf(inity)?)[ \t]*"
# Texts that usually mean a missing cell; they do so only where the user says so: those of pandas,
# SQL, MySQL, SAS and Excel, and its errors.
MISSING_WORDS: Final = frozenset(
    (
        *("NA", "na", "N/A", "n/a", "N.A.", "n.a.", "#N/A", "#N/A N/A", "#NA", "<NA>", "#NV"),
        *("NULL", "Null", "null", "(NULL)", "(null)", "<NULL>", "<null>", "[NULL]", "\\N", "None"),
        *("NaN", "Nan", "NAN", "nan", "-NaN", "-nan", "NaT", "1.#IND", "-1.#IND", "1.#QNAN"),
        *("-1.#QNAN", "#DIV/0!", "#VALUE!", "#REF!", "#NAME?", "#NUM!", "#NULL!"),
        *("-", "--", "\u2013", "\u2014", "?", "."),
    )
)
_FILLED: Final = rb"[^ \t]"

_MAX_DIGITS: Final = 30  # of a number that is written without an exponent
_MIN_HINT_SHARE: Final = 0.9  # of the bad cells
_MIN_HINT_CELLS: Final = 2
_EXPONENT = r"([eE][+-]?[0-9]+)?\s*"
_FRACTION: Final[dict[Decimal, str]] = {
    ",": rf"\s*[+-]?[0-9]*,[0-9]+{_EXPONENT}",
    ".": rf"\s*[+-]?[0-9]*\.[0-9]+{_EXPONENT}",
}
# Groups of three digits; CLDR separates them by no-break or narrow spaces, too.
_GROUPED: Final = (
    r"\s*[+-]?[0-9]{1,3}(?P<sign>[,.' \u00a0\u2009\u2019\u202f])[0-9]{3}"
    r"(?P<more>(?P=sign)[0-9]{3})*(?P<rest>[.,][0-9]+)?" + _EXPONENT
)


def parse_numbers(cells: pa.ChunkedArray, decimal: Decimal = ".") -> Numbers:
    """Parse cells as float64, correctly rounded; NaN for cells that are not numbers."""
    import pyarrow.compute as pc

    is_number = pc.match_substring_regex(cells, rf"\A{_NUMBER[decimal]}\z")
    text = pc.if_else(is_number, cells, pa.nulls(1, pa.binary())[0]).cast(pa.string())
    if decimal != ".":
        text = pc.replace_substring(text, decimal, ".")
    values = pc.cast(pc.ascii_trim(text, " \t"), pa.float64())
    return float64_values(pc.fill_null(values, number_scalar(np.float64(np.nan))))


def explain_cell(cell: bytes, dialect: Dialect = COMMA) -> str:
    """Explain why a cell is not a float32 number."""
    if not cell.strip(b" \t"):
        return MISSING
    try:
        text = dialect.encoding.decode(cell)
    except UnicodeDecodeError:
        return UNDECODABLE
    if re.fullmatch(_NUMBER[dialect.decimal], text):
        return OUT_OF_RANGE
    return NOT_FINITE if re.fullmatch(_NOT_FINITE, text, re.IGNORECASE) else NOT_A_NUMBER


def is_decodable(cell: bytes) -> bool:
    """Check for UTF-8."""
    try:
        cell.decode()
    except UnicodeDecodeError:
        return False
    return True


def split_missing(column: pa.Array) -> tuple[Numbers, Mask]:
    """Split numbers with nulls into float64 with NaN and a mask of the nulls."""
    import pyarrow.compute as pc

    missing = bool_values(pc.is_null(column))
    numbers = pc.fill_null(column, number_scalar(np.float64(np.nan)))
    return number_values(numbers), missing


def find_missing(cells: pa.Array, texts: Sequence[str] = ()) -> Mask:
    """Mark missing cells: null, empty, blank, or one of ``texts`` between blanks."""
    import pyarrow.compute as pc

    if is_temporal(cells.type):
        return bool_values(pc.is_null(cells))
    if texts:
        known = missing_pattern(tuple(texts)).encode()
        found = pc.match_substring_regex(cells, rb"\A[ \t]*(?:" + known + rb")?[ \t]*\z")
        return bool_values(pc.fill_null(found, bool_scalar(True)))
    filled = pc.fill_null(pc.match_substring_regex(cells, _FILLED), bool_scalar(False))
    return ~bool_values(filled)


@lru_cache(maxsize=64)
def missing_pattern(texts: tuple[str, ...]) -> str:
    """Build the regular expression of texts that mean missing: numbers in any spelling."""
    return "|".join(map(_spellings, texts))


def _spellings(text: str) -> str:
    from runtime.schema.numbers import number_key

    number = number_key(text)
    if number is None or abs(number.adjusted()) > _MAX_DIGITS:
        return re.escape(text)
    whole, _, fraction = f"{abs(number):f}".partition(".")
    digits = fraction.rstrip("0")
    sign = "-" if number < 0 else r"\+?" if number else "[+-]?"
    point = rf"[.,]{digits}0*" if digits else "(?:[.,]0*)?"
    return rf"{re.escape(text)}|{sign}0*{whole.lstrip('0')}{point}"


def number_hint(
    column: str,
    values: Sequence[str],
    decimal: Decimal = ".",
) -> str | None:
    """Suggest an option when most bad cells of a column are numbers in another format."""
    other: Decimal = "," if decimal == "." else "."
    grouped = {value: found for value in values if (found := re.fullmatch(_GROUPED, value))}
    unambiguous = [found for found in grouped.values() if _is_unambiguous(found)]
    fractions = [value for value in values if re.fullmatch(_FRACTION[other], value)]
    ungrouped = [value for value in fractions if value not in grouped]
    recognised = sum(value in grouped for value in values) + len(ungrouped)
    if len(values) < _MIN_HINT_CELLS or recognised < _MIN_HINT_SHARE * len(values):
        return None
    if ungrouped and not unambiguous:
        name = "decimal commas" if other == "," else "decimal points"
        return f"column {column!r} looks like numbers with {name}: {advise('decimal', other)}"
    separators = " or ".join(
        sorted({repr(found["sign"]) for found in unambiguous or grouped.values()})
    )
    advice = "write them without"
    if not unambiguous:
        advice += f"; if these are decimal signs, {advise('decimal', other)}"
    elif ungrouped or any((found["rest"] or "").startswith(other) for found in unambiguous):
        advice += f" and {advise('decimal', other)}"
    return (
        f"column {column!r} looks like numbers with thousands separators ({separators}): {advice}"
    )


def _is_unambiguous(found: re.Match[str]) -> bool:
    """Whether a number is certainly grouped: ``1,234`` could have a decimal comma."""
    return found["sign"] not in ",." or bool(found["more"]) or bool(found["rest"])
