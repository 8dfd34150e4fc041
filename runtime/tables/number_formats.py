"""Recognise numbers with decimal commas or thousands separators."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

    from runtime.choices import Decimal


_MIN_SHARE: Final = 0.9  # of the bad cells
_MIN_CELLS: Final = 2
_EXPONENT = r"([eE][+-]?[0-9]+)?\s*"
_FRACTION: Final[dict[Decimal, re.Pattern[str]]] = {
    ",": re.compile(rf"\s*[+-]?[0-9]*,[0-9]+{_EXPONENT}"),
    ".": re.compile(rf"\s*[+-]?[0-9]*\.[0-9]+{_EXPONENT}"),
}
# Groups of three digits; CLDR separates them by no-break or narrow spaces, too.
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
    """Suggest an option when most bad cells of a column are numbers in another format."""
    other: Decimal = "," if decimal == "." else "."
    grouped = {value: found for value in values if (found := _GROUPED.fullmatch(value))}
    unambiguous = [found for found in grouped.values() if _is_unambiguous(found)]
    fractions = [value for value in values if _FRACTION[other].fullmatch(value)]
    ungrouped = [value for value in fractions if value not in grouped]
    recognised = sum(value in grouped for value in values) + len(ungrouped)
    if len(values) < _MIN_CELLS or recognised < _MIN_SHARE * len(values):
        return None
    if ungrouped and not unambiguous:
        name = "decimal commas" if other == "," else "decimal points"
        return f"column {column!r} looks like numbers with {name}: give {option.format(other)}"
    separators = " or ".join(
        sorted({repr(found["sign"]) for found in unambiguous or grouped.values()})
    )
    advice = "write them without"
    if not unambiguous:
        advice += f"; if these are decimal signs, give {option.format(other)}"
    elif ungrouped or any((found["rest"] or "").startswith(other) for found in unambiguous):
        advice += f" and give {option.format(other)}"
    return (
        f"column {column!r} looks like numbers with thousands separators ({separators}): {advice}"
    )


def _is_unambiguous(found: re.Match[str]) -> bool:
    """Whether a number is certainly grouped: ``1,234`` could have a decimal comma."""
    return found["sign"] not in ",." or bool(found["more"]) or bool(found["rest"])
