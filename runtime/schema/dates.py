"""Days since an origin as dates that people read."""

from __future__ import annotations

import datetime as dt
from typing import Final

EPOCH: Final = dt.date(1970, 1, 1)
SECONDS_PER_DAY: Final = 86_400  # of a day


def days_from_epoch(date: dt.date) -> int:
    """Count the days from 1970-01-01 to a date."""
    return (date - EPOCH).days


def format_day(day: int) -> str:
    """Write a day, counted from 1970-01-01, as an ISO date."""
    return (EPOCH + dt.timedelta(days=day)).isoformat()


def format_instant(days: float, origin: str) -> str:
    """Write days since an origin for people."""
    begin = dt.datetime.fromisoformat(origin)
    try:
        instant = begin + dt.timedelta(seconds=round(days * SECONDS_PER_DAY))
    except (OverflowError, ValueError):
        return f"{days:g} days since {origin}"
    return instant.isoformat().removesuffix("T00:00:00")
