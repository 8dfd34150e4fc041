"""Formats of dates beside ISO 8601: names for common notations, and strftime codes.

``dmy``, ``mdy`` and ``ymd`` have years of four digits, one of ``.``, ``/`` and ``-`` between their
parts, and optionally a time and ``Z``, ``UTC``, ``GMT`` or an offset such as ``+0000``; ``ymd`` may
be eight digits. ``epoch-s`` and ``epoch-ms`` are numbers since 1970-01-01 in UTC.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final

EPOCHS: Final = {"epoch-s": 1, "epoch-ms": 1_000}  # per second
MONTHS: Final = (
    "january",
    "february",
    "march",
    "april",
    "may",
    "june",
    "july",
    "august",
    "september",
    "october",
    "november",
    "december",
)
_WEEKDAYS: Final = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
_SHORT: Final = 3  # letters of an abbreviated month or weekday

_YEAR: Final = "(?P<year>[0-9]{4})"
_MONTH: Final = "(?P<month>1[0-2]|0?[1-9])"
_DAY: Final = "(?P<day>[12][0-9]|3[01]|0?[1-9])"
_HOUR: Final = "(?P<hour>2[0-3]|[01]?[0-9])"
_MINUTE: Final = "(?P<minute>[0-5][0-9])"
_SECOND: Final = "(?P<second>[0-5][0-9])"
_FRACTION: Final = "(?P<fraction>[0-9]{1,9})"
_OFFSET: Final = "[+-](?:[01][0-9]|2[0-3])(?::?[0-5][0-9])?"
_TIME: Final = (
    rf"(?:[Tt \t]+{_HOUR}:{_MINUTE}(?::{_SECOND}(?:[.,]{_FRACTION})?)?"
    rf"(?:[ \t]*(?P<zone>Z|UTC|GMT|{_OFFSET}))?)?"
)
_SIGN, _SAME_SIGN = "(?P<sign>[./-])", "(?P<same>[./-])"
_NAMED: Final = {
    "dmy": _DAY + _SIGN + _MONTH + _SAME_SIGN + _YEAR + _TIME,
    "mdy": _MONTH + _SIGN + _DAY + _SAME_SIGN + _YEAR + _TIME,
    "ymd": _YEAR + "(?P<sign>[./-]?)" + _MONTH + "(?P<same>[./-]?)" + _DAY + _TIME,
}
NAMES: Final = (*_NAMED, *EPOCHS)


def _one_of(names: tuple[str, ...], length: int | None = None) -> str:
    return "(?i:" + "|".join(name[:length] for name in names) + ")"


_CODES: Final = {
    "Y": _YEAR,
    "y": "(?P<short_year>[0-9]{2})",
    "m": _MONTH,
    "b": f"(?P<month_name>{_one_of(MONTHS, _SHORT)})",
    "B": f"(?P<month_name>{_one_of(MONTHS)})",
    "d": _DAY,
    "e": _DAY,
    "H": _HOUR,
    "I": "(?P<half_hour>1[0-2]|0?[1-9])",
    "p": "(?P<half>(?i:am|pm))",
    "M": _MINUTE,
    "S": _SECOND,
    "f": _FRACTION,
    "z": f"(?P<zone>Z|{_OFFSET})",
    "Z": "(?P<zone>Z|UTC|GMT)",
    "a": _one_of(_WEEKDAYS, _SHORT),
    "A": _one_of(_WEEKDAYS),
    "%": "%",
}
_SHORTHANDS: Final = {"T": "%H:%M:%S", "R": "%H:%M", "D": "%m/%d/%y", "F": "%Y-%m-%d", "h": "%b"}
_PART: Final = re.compile(r"%(?P<code>.?)|(?P<blank>[ \t]+)|(?P<literal>[^% \t]+)", re.DOTALL)


def is_date_format(text: str) -> bool:
    """Whether a text is meant as a format: a known name, or one with strftime codes."""
    return text in NAMES or "%" in text


@lru_cache(maxsize=64)
def date_pattern(date_format: str) -> str:
    """Build the regular expression of a format, with a named group per part.

    Args:
        date_format: one of ``NAMES`` but an epoch, or strftime codes.

    Returns:
        A pattern of Python's ``re`` and of RE2, without anchors.

    Raises:
        ValueError: when a name or code is not known, a part is given twice, or a date lacks its
            year or month.
    """
    if date_format in _NAMED:
        return _NAMED[date_format]
    if "%" not in date_format:
        raise ValueError(
            f"unknown date format {date_format!r}: give {', '.join(NAMES)}, or strftime codes "
            "such as %d.%m.%Y"
        )
    pattern = "".join(
        _translate(part, date_format) for part in _PART.finditer(_expand(date_format))
    )
    groups = re.findall(r"\(\?P<([a-z_]+)>", pattern)
    for kinds in (("year", "short_year"), ("month", "month_name"), ("hour", "half_hour")):
        if sum(groups.count(kind) for kind in kinds) > 1:
            raise ValueError(f"date format {date_format!r} has more than one {kinds[0]}")
    if repeated := sorted({group for group in groups if groups.count(group) > 1}):
        raise ValueError(f"date format {date_format!r} has more than one {repeated[0]}")
    given = {group.rpartition("_")[2] if group == "short_year" else group for group in groups}
    if "year" not in given or not given & {"month", "month_name"}:
        raise ValueError(f"date format {date_format!r} needs a year (%Y, %y) and a month (%m, %b)")
    if ("half" in given) != ("half_hour" in given):
        raise ValueError(f"date format {date_format!r} needs %I and %p together, or %H")
    return pattern


def _expand(date_format: str) -> str:
    return re.sub(
        r"%(.)", lambda found: _SHORTHANDS.get(found[1], found[0]), date_format, flags=re.DOTALL
    )


def _translate(part: re.Match[str], date_format: str) -> str:
    """Translate a code, blanks or literal text."""
    if part["literal"]:
        return re.escape(part["literal"])
    if part["blank"]:
        return "[ \\t]+"
    if (code := part["code"]) not in _CODES:
        known = " ".join(f"%{each}" for each in (*_CODES, *_SHORTHANDS))
        raise ValueError(f"date format {date_format!r} has %{code}, which is not one of {known}")
    return _CODES[code]
