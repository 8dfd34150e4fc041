"""Convert between dates and days since an origin."""

from __future__ import annotations

import datetime as dt
from typing import Final

_NAMED: Final = {"dmy": "%d.%m.%Y", "mdy": "%m/%d/%Y", "ymd": "%Y-%m-%d"}
EPOCH: Final = dt.date(1970, 1, 1)
SECONDS_PER_DAY: Final = 86_400


def days_from_epoch(date: dt.date) -> int:
    """Convert a date to days since 1970-01-01."""
    return (date - EPOCH).days


def format_day(day: int) -> str:
    """Format days since 1970-01-01 as an ISO date."""
    return (EPOCH + dt.timedelta(days=day)).isoformat()


def format_instant(days: float, origin: str, date_format: str = "") -> str:
    """Format days since an origin as an ISO date, with the time unless it is midnight.

    With a format of ``runtime.schema.date_formats``, write a cell in it instead.
    """
    start = dt.datetime.fromisoformat(origin)
    try:
        instant = start + dt.timedelta(seconds=round(days * SECONDS_PER_DAY))
    except (OverflowError, ValueError):
        return f"{days:g} days since {origin}"
    if not date_format:
        return instant.isoformat().removesuffix("T00:00:00")
    from runtime.schema.date_formats import EPOCHS

    utc = instant.replace(tzinfo=dt.UTC)
    if date_format in EPOCHS:
        return str(round(utc.timestamp()) * EPOCHS[date_format])
    time = "" if date_format not in _NAMED or utc.time() == dt.time() else " %T"
    return utc.strftime(_NAMED.get(date_format, date_format) + time)
