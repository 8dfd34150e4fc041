from __future__ import annotations

import datetime as dt

import pyarrow as pa
import pytest

from runtime.schema.date_formats import date_pattern
from runtime.schema.dates import format_instant
from runtime.schema.features import Date
from runtime.tables.dates import read_instants

NEW_YEAR = dt.datetime(2024, 1, 31, tzinfo=dt.UTC)
NOON = NEW_YEAR.replace(hour=12, minute=5)
GOOD = [
    ("dmy", "31.01.2024", NEW_YEAR),
    ("dmy", " 31/1/2024\t", NEW_YEAR),
    ("dmy", "31-01-2024 12:05", NOON),
    ("mdy", "01/31/2024", NEW_YEAR),
    ("mdy", "1/31/2024 12:05:00 UTC", NOON),
    ("ymd", "2024/01/31", NEW_YEAR),
    ("ymd", "20240131", NEW_YEAR),
    ("ymd", "2024-01-31 12:05:00 +0000", NOON),
    ("ymd", "2024.01.31T13:35:00.000+01:30", NOON),
    ("%b %d, %Y", "Jan 31, 2024", NEW_YEAR),
    ("%d %B %Y", "31  JANUARY 2024", NEW_YEAR),
    ("%d-%b-%y", "31-Jan-24", NEW_YEAR),
    ("%m/%d/%Y %I:%M %p", "1/31/2024 12:05 pm", NOON),
    ("%a, %d %b %Y %T %z", "Wed, 31 Jan 2024 06:35:00 -0530", NOON),
    ("%Y%m%d%H%M%S", "20240131120500", NOON),
    ("%b-%y", "Jan-24", NEW_YEAR.replace(day=1)),
    ("epoch-s", "1706702700", NOON),
    ("epoch-s", "1.7067027e+09", NOON),
    ("epoch-ms", "1706702700000", NOON),
]
BAD = [
    ("dmy", "31.02.2024"),
    ("dmy", "01/31/2024"),
    ("dmy", "31.01-2024"),
    ("dmy", "31.01.24"),
    ("dmy", "2024-01-31"),
    ("ymd", "2024131"),
    ("ymd", "20240230"),
    ("%b %d, %Y", "January 31, 2024"),
    ("%m/%d/%Y %I:%M %p", "1/31/2024 13:05 PM"),
    ("%d.%m.%Y", "31.01.2024 12:00"),
    ("epoch-s", "1e300"),
    ("epoch-s", "soon"),
    ("dmy", ""),
]


@pytest.mark.parametrize(("date_format", "text", "instant"), GOOD)
def test_a_date_in_a_format_is_an_instant(
    date_format: str, text: str, instant: dt.datetime
) -> None:
    """Days and nanoseconds since midnight in UTC; null and undecodable cells are unknown."""
    cells = pa.array([None, text.encode(), b"\xff"], pa.binary()).slice(1)
    found = read_instants(cells, date_format)
    assert found.known.tolist() == [True, False]
    seconds = int(found.days[0]) * 86_400 + int(found.nanoseconds[0]) / 1e9
    assert seconds == instant.timestamp()


@pytest.mark.parametrize("date_format", sorted({each[0] for each in GOOD} - {"%b-%y"}))
def test_a_date_is_written_in_its_format(date_format: str) -> None:
    """An example of a request is one that the server reads."""
    text = format_instant(30, "2024-01-01", date_format)
    found = read_instants(pa.array([text.encode()], pa.binary()), date_format)
    assert found.known.all()
    assert found.days.tolist() == [int(NEW_YEAR.timestamp()) // 86_400]


@pytest.mark.parametrize(("date_format", "text"), BAD)
def test_what_a_format_does_not_fit_is_no_date(date_format: str, text: str) -> None:
    """A wrong day, order or notation is never read as another day."""
    cells = pa.array([text.encode(), None], pa.binary())
    assert read_instants(cells, date_format).known.tolist() == [False, False]


@pytest.mark.parametrize(("text", "year"), [("68", 2068), ("69", 1969)])
def test_a_year_of_two_digits_is_that_of_posix(text: str, year: int) -> None:
    """As in Python: 69 begins with 19."""
    cells = pa.array([f"{text}-01-01".encode()], pa.binary())
    days = read_instants(cells, "%y-%m-%d").days
    assert days.tolist() == [(dt.date(year, 1, 1) - dt.date(1970, 1, 1)).days]


@pytest.mark.parametrize(
    ("date_format", "message"),
    [
        ("dym", "unknown date format 'dym': give dmy, mdy, ymd"),
        ("%d.%q.%Y", "has %q, which is not one of %Y"),
        ("%d.%m.%Y%", "has %, which is not one of"),
        ("%d.%m", "needs a year"),
        ("%Y", "and a month"),
        ("%Y %y %m", "more than one year"),
        ("%F %d", "more than one day"),
        ("%F %I:%M", "needs %I and %p together"),
    ],
)
def test_an_unknown_format_is_refused(date_format: str, message: str) -> None:
    """In the manifest, too."""
    with pytest.raises(ValueError, match=message):
        date_pattern(date_format)
    with pytest.raises(ValueError, match=message):
        Date("2024-01-01", format=date_format)
