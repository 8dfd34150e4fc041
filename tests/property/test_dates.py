"""A date is the same number in every format."""

from __future__ import annotations

import datetime as dt
import json
import tempfile
from pathlib import Path

import numpy as np
import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st
from pyarrow import feather, parquet

from runtime.encoding import Encoder
from runtime.schema.features import Date, Feature
from runtime.tables.dates import days_since, read_instants
from runtime.tables.opening import open_table
from runtime.tables.options import ReadOptions

few = settings(max_examples=40, deadline=None)  # each writes several files

ORIGIN = "2020-01-01"
zones = st.integers(-23 * 60 - 59, 23 * 60 + 59).map(
    lambda minutes: dt.timezone(dt.timedelta(minutes=minutes))
)
moments = st.datetimes(dt.datetime(2, 1, 1), dt.datetime(9998, 12, 31))  # noqa: DTZ001 - in UTC
aware = st.datetimes(
    dt.datetime(2, 1, 1),  # noqa: DTZ001 - the zones are drawn
    dt.datetime(9998, 12, 31),  # noqa: DTZ001
    timezones=zones,
)
EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)


def expected(moment: dt.datetime) -> float:
    """Days since the origin by Python's own calendar; one division, one sum."""
    utc = moment.astimezone(dt.UTC) if moment.tzinfo else moment.replace(tzinfo=dt.UTC)
    whole = utc - dt.datetime.fromisoformat(ORIGIN).replace(tzinfo=dt.UTC)
    seconds_and_micros = (whole.seconds * 10**6 + whole.microseconds) * 1000
    return whole.days + seconds_and_micros / 86_400e9


@given(st.lists(st.one_of(moments, aware), min_size=1, max_size=20), st.sampled_from("T "))
def test_texts_are_read_as_pythons_calendar_reads_them(
    values: list[dt.datetime], between: str
) -> None:
    """Instants formatted by Python parse to the number of Python's arithmetic."""
    cells = pa.array([value.isoformat(between).encode() for value in values], pa.binary())
    found = days_since(read_instants(cells), ORIGIN)
    assert found.tolist() == list(map(expected, values))


@given(
    st.lists(
        st.one_of(
            st.dates().map(dt.date.isoformat).map(str.encode),
            st.from_regex(rb"[0-9]{4}-[0-9]{2}-[0-9]{2}", fullmatch=True),
            st.text("0123456789-/: \xff", min_size=10, max_size=10).map(
                lambda text: text.encode("latin-1")
            ),
        ),
        min_size=1,
        max_size=20,
    )
)
def test_dates_alone_and_beside_other_cells_are_the_same(cells: list[bytes]) -> None:
    """The fast path for dates without times and the slow path agree."""
    alone = days_since(read_instants(pa.array(cells, pa.binary())), ORIGIN)
    beside = days_since(read_instants(pa.array([*cells, b"no date"], pa.binary())), ORIGIN)
    np.testing.assert_array_equal(alone, beside[:-1])


def bits(path: Path, feature: Feature) -> bytes:
    """Encode the only feature of a table."""
    encoder = Encoder((feature,))
    with open_table(path, ReadOptions(), (feature.name,)) as table:
        at = table.columns.index(feature.name)
        parts = [block.parse((at,), encoder) for block in table.blocks([at])]
    assert not any(part.bad for part in parts)
    return b"".join(part.features.tobytes() for part in parts)


@few
@given(st.lists(st.one_of(st.none(), aware), min_size=1, max_size=12))
def test_a_date_is_the_same_number_in_every_format(values: list[dt.datetime | None]) -> None:
    """Dates have the same bits in all formats, as text and typed, also missing ones."""
    feature = Feature("when", 0, 1, missing="imputed", date=Date(ORIGIN))
    texts = [None if value is None else value.isoformat() for value in values]
    micros = [
        None if value is None else (value - EPOCH) // dt.timedelta(microseconds=1)
        for value in values
    ]
    typed = pa.array(micros, pa.int64()).cast(pa.timestamp("us", "UTC"))
    rows = np.arange(len(values))
    numbers = [None if value is None else expected(value) for value in values]
    wanted = np.array(numbers, np.float64).astype(np.float32).tobytes()
    with tempfile.TemporaryDirectory() as name:
        for ending, sign in (("csv", ","), ("tsv", "\t")):
            lines = [f"{at}{sign}{text or ''}" for at, text in zip(rows, texts, strict=True)]
            Path(name, f"t.{ending}").write_text("\n".join([f"n{sign}when", *lines, ""]))
        lines = [json.dumps({"when": text}) for text in texts]
        Path(name, "t.jsonl").write_text("\n".join([*lines, ""]))
        for kind, column in (("text", pa.array(texts, pa.string())), ("typed", typed)):
            parquet.write_table(pa.table({"when": column}), Path(name, f"{kind}.parquet"))
            feather.write_feather(pa.table({"when": column}), Path(name, f"{kind}.arrow"))
        found = {path.name: bits(path, feature) for path in Path(name).iterdir()}
    assert found == dict.fromkeys(found, wanted)
    assert len(found) == 7


@given(st.lists(st.dates(), min_size=1, max_size=20))
def test_whole_days_survive_float32(values: list[dt.date]) -> None:
    """Dates of any year round-trip through the model's number."""
    cells = pa.array(values, pa.date32())
    days = days_since(read_instants(cells), ORIGIN).astype(np.float32)
    origin = dt.date.fromisoformat(ORIGIN)
    back = [origin + dt.timedelta(days=int(day)) for day in days]
    assert back == values
    texts = pa.array([value.isoformat().encode() for value in values], pa.binary())
    again = days_since(read_instants(texts), ORIGIN).astype(np.float32)
    assert again.tobytes() == days.tobytes()
