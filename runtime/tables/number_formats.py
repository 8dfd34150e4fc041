"""Recognise a column of numbers that are written in another notation."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

    from runtime.choices import Decimal


_NEARLY_ALL: Final = 0.9
_FEWEST: Final = 2  # bad cells: one alone may be anything
_EXPONENT = r"([eE][+-]?[0-9]+)?\s*"
_FRACTION: Final[dict[Decimal, re.Pattern[str]]] = {
    ",": re.compile(rf"\s*[+-]?[0-9]*,[0-9]+{_EXPONENT}"),
    ".": re.compile(rf"\s*[+-]?[0-9]*\.[0-9]+{_EXPONENT}"),
}
# Groups of three after one to three digits; a blank may be no-break or narrow, as CLDR writes it.
_GROUPED: Final = re.compile(
    r"\s*[+-]?[0-9]{1,3}(?P<sign>[,.' \u00a0\u2009\u2019\u202f])[0-9]{3}"
    r"(?P<more>(?P=sign)[0-9]{3})*(?P<rest>[.,][0-9]+)?" + _EXPONENT
)


def number_hint(
    column: str,
    values: Sequence[str],
    decimal: Decimal = ".",
    option: str = "--decimal {}",
) -> str | None:
    """Say what helps when nearly all bad cells of a column are numbers in another notation."""
    other: Decimal = "," if decimal == "." else "."
    grouped = {value: found for value in values if (found := _GROUPED.fullmatch(value))}
    surely = [found for found in grouped.values() if _is_sure(found)]
    fractions = [value for value in values if _FRACTION[other].fullmatch(value)]
    plain = [value for value in fractions if value not in grouped]
    explained = sum(value in grouped for value in values) + len(plain)
    if len(values) < _FEWEST or explained < _NEARLY_ALL * len(values):
        return None
    if plain and not surely:
        words = "decimal commas" if other == "," else "decimal points"
        return f"column {column!r} looks like numbers with {words}: give {option.format(other)}"
    shown = " or ".join(sorted({repr(found["sign"]) for found in surely or grouped.values()}))
    advice = "write them without"
    if not surely:
        advice += f"; if these are decimal signs, give {option.format(other)}"
    elif plain or any((found["rest"] or "").startswith(other) for found in surely):
        advice += f" and give {option.format(other)}"
    return f"column {column!r} looks like numbers with thousands separators ({shown}): {advice}"


def _is_sure(found: re.Match[str]) -> bool:
    """Whether a number is grouped beyond doubt: ``1,234`` may have a decimal comma."""
    return found["sign"] not in ",." or bool(found["more"]) or bool(found["rest"])
