from __future__ import annotations

import datetime as dt

import numpy as np
import pyarrow as pa
import pytest

from runtime.schema.dates import format_day, format_instant
from runtime.schema.features import Date, Feature, OneHot, Schema
from runtime.tables.arrays import binary_array, text_array
from runtime.tables.dates import days_since, read_instants

NOON = "2024-02-29T12:00:00Z"
MIDDAY = dt.datetime(2024, 2, 29, 12, tzinfo=dt.UTC)


def days(*cells: bytes, origin: str = "2024-02-29") -> list[float]:
    """Cells of text as days since a leap day."""
    found: list[float] = days_since(read_instants(binary_array(cells)), origin).tolist()
    return found


@pytest.mark.parametrize(
    ("cell", "expected"),
    [
        (b"2024-02-29", 0),
        (b" \t2024-03-01 ", 1),
        (b"2024-02-29T12:00", 0.5),
        (b"2024-02-29 06:00:00", 0.25),
        (b"2024-02-29t12:00:00z", 0.5),
        (b"2024-02-29T12:00:00.000000000Z", 0.5),
        (b"2024-02-29T12:00:00,0Z", 0.5),
        (b"2024-02-29T13:30:00+01:30", 0.5),
        (b"2024-02-29T13:30:00+0130", 0.5),
        (b"2024-02-29T06:00-06", 0.5),
        (b"2024-02-29T00:00:00+12:00", -0.5),
        (b"2024-02-28T12:00:00-12:00", 0),
        (b"0001-01-01", (dt.date(1, 1, 1) - dt.date(2024, 2, 29)).days),
        (b"9999-12-31", (dt.date(9999, 12, 31) - dt.date(2024, 2, 29)).days),
    ],
)
def test_iso_dates_are_days_since_the_origin(cell: bytes, expected: float) -> None:
    """Times are fractions of a day, zones are turned to UTC, and none means UTC."""
    assert days(cell) == [expected]


@pytest.mark.parametrize(
    "cell",
    [
        *("", " ", "2024", "2024-02", "20240229", "29.02.2024", "02/29/2024", "2024-2-29"),
        *("2023-02-29", "1900-02-29", "2024-04-31", "2024-13-01", "2024-00-01", "2024-01-00"),
        *("0000-01-01", "2024-02-29T", "2024-02-29T12", "2024-02-29T24:00", "2024-02-29T12:60"),
        *("2024-02-29T12:00:60", "2024-02-29T12:00:00.", "2024-02-29T12:00:00.0123456789"),
        *("2024-02-29Z", "2024-02-29T12:00+24:00", "2024-02-29T12:00 Z", "2024-02-29T12:00UTC"),
        *("2024-W09-4", "2024-060", "+2024-02-29", "2024-02-29\n", "٢٠٢٤-٠٢-٢٩", "2024-02-29x"),
        *("9999-12-31T23:00-05:00", "0001-01-01T00:00+05:00"),
    ],
)
def test_anything_else_is_no_date(cell: str) -> None:
    """Alone and beside a date, which stays one."""
    assert np.isnan(days(cell.encode())).all()
    assert np.isnan(days(b"2024-02-29", cell.encode(), b"\xff")).tolist() == [False, True, True]


@pytest.mark.parametrize(
    "typed",
    [
        pa.array([MIDDAY, None], pa.timestamp("s")),
        pa.array([MIDDAY, None], pa.timestamp("ms")),
        pa.array([MIDDAY, None], pa.timestamp("us", "Asia/Kolkata")),
        pa.array([MIDDAY, None], pa.timestamp("ns", "UTC")),
        pa.array([43_200_000, None], pa.int64()).cast(pa.date64()).slice(0),
    ],
    ids=["s", "ms", "us of a zone", "ns", "date64"],
)
def test_typed_values_are_what_their_text_is(typed: pa.Array) -> None:
    """Typed instants equal their text in UTC."""
    found = read_instants(typed)
    day = "1970-01-01" if pa.types.is_date64(typed.type) else "2024-02-29"
    assert found.known.tolist() == [True, False]
    assert days_since(found, day)[0] == 0.5
    assert days_since(read_instants(typed.slice(1)), day).tolist() != [0.5]


def test_dates_of_no_calendar_are_not_known() -> None:
    """A timestamp may lie beyond the year 9999, which no text can say."""
    far = pa.array([253_402_300_799, 253_402_300_800], pa.int64()).cast(pa.timestamp("s"))
    assert read_instants(far).known.tolist() == [True, False]


def test_text_of_any_layout_is_read() -> None:
    """Slices of arrays are supported."""
    cells = binary_array([b"2024-01-01", b"x", b"2024-03-01", NOON.encode()]).slice(1)
    assert days_since(read_instants(cells), "2024-02-29")[1:].tolist() == [1, 0.5]
    assert len(read_instants(cells.slice(0, 0)).days) == 0
    assert read_instants(text_array(["2024-02-29"]).cast(pa.binary())).known.all()


def test_people_read_dates() -> None:
    """Days are written as the date that they are, with a time where there is one."""
    assert format_day(19782) == "2024-02-29"
    assert format_instant(1, "2024-02-28") == "2024-02-29"
    assert format_instant(1.5, "2024-02-28") == "2024-02-29T12:00:00"
    assert format_instant(1e9, "2024-02-28") == "1e+09 days since 2024-02-28"


def test_a_schema_of_dates_says_so() -> None:
    """It is written with its origin and read back; a model's input keeps the column's name."""
    feature = Feature("when", 0, 9.5, date=Date("2024-02-29"))
    schema = Schema("y", (feature, Feature("x", 0, 1)), ("a", "b"))
    assert '"date":{"origin":"2024-02-29","unit":"day"}' in schema.to_json()
    assert (schema.inputs, schema.is_numeric) == (("when", "x"), False)
    assert [each.name for each in schema.numeric_features.values()] == ["when", "x"]
    assert '"date"' not in Schema("y", (Feature("x", 0, 1),), ("a", "b")).to_json()


@pytest.mark.parametrize("origin", ["", "2024-2-29", "2023-02-29", "20240229", "2024-02-29T00:00"])
def test_an_origin_is_a_date(origin: str) -> None:
    """An invalid origin in a manifest is refused."""
    with pytest.raises(ValueError, match="not like"):
        Date(origin)


def test_a_column_is_of_one_kind() -> None:
    """Categories are no dates."""
    with pytest.raises(ValueError, match="not both"):
        Feature("x", 0, 1, one_hot=OneHot(("a",)), date=Date("2024-02-29"))
