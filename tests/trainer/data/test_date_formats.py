from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Any

import msgspec
import pandas as pd
import pyarrow as pa
import pytest
import torch

from runtime.errors import BadRowsError, RequestError, SchemaError, UsageError
from runtime.schema.features import Schema
from runtime.scoring.dataframes import read_features
from runtime.serving.v2.columns import InputColumns
from trainer.data.cell_options import DateFormats, parse_date_formats
from trainer.data.reading import read_dataset
from trainer.data.source import TableSource

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    Columns = dict[str, list[Any]]
    Save = Callable[[str, Columns], Path]

DAYS = [dt.date(2024, 1, 25) + dt.timedelta(days=at) for at in range(20)]
LABELS = ["a", "b"] * 10


def written(code: str) -> Columns:
    """Days in a notation, with a gap."""
    return {"day": [None, *(day.strftime(code) for day in DAYS[1:])], "y": LABELS}


@pytest.mark.parametrize("ending", ["csv", "jsonl", "parquet"])
@pytest.mark.parametrize(
    ("option", "code"),
    [("dmy", "%d.%m.%Y"), ("day=mdy", "%m/%d/%Y"), ("day=ymd", "%Y%m%d"), ("%b %d %y", "%b %d %y")],
)
def test_dates_in_a_format_are_those_in_iso(
    save: Save, ending: str, option: str, code: str
) -> None:
    """The same days in every format of tables; the schema keeps the format."""
    formats = parse_date_formats([option])
    source = TableSource(save(f"t.{ending}", written(code)), "y", date_formats=formats)
    found = read_dataset(source, seed=1)
    plain = read_dataset(TableSource(save("iso.csv", written("%Y-%m-%d")), "y"), seed=1)
    assert found.digest() == plain.digest()
    (feature,) = found.schema.features
    assert (feature.origin, feature.missing) == ("2024-01-26", "imputed")
    assert feature.date_format == option.removeprefix("day=")
    assert msgspec.json.decode(found.schema.to_json(), type=Schema) == found.schema
    assert "format" not in plain.schema.to_json()


def test_scoring_and_serving_read_the_format(save: Save) -> None:
    """Files, data frames and requests agree; another notation is a bad cell with the reason."""
    formats = DateFormats("dmy")
    test = save("test.parquet", {"day": ["27.01.2024", None], "y": ["a", "b"]})
    source = TableSource(save("t.csv", written("%d.%m.%Y")), "y", test=test, date_formats=formats)
    dataset = read_dataset(source, seed=1)
    schema, expected = dataset.schema, torch.tensor([[1.0], [torch.nan]])
    assert torch.equal(dataset.rows.test_features.nan_to_num(-1), expected.nan_to_num(-1))
    frame = pd.DataFrame({"day": ["27.01.2024", None]})
    typed = pa.table({"day": pa.array([dt.date(2024, 1, 27), None])})
    served = InputColumns(schema, max_bytes=1000)
    sent = served.matrix({"day": [b"27.01.2024", b""]})
    for matrix in (read_features(frame, schema), read_features(typed, schema), sent):
        assert torch.equal(torch.tensor(matrix).nan_to_num(-1), expected.nan_to_num(-1))
    reason = "'2024-01-27': not a date in the format dmy"
    with pytest.raises(RequestError, match=reason):
        served.matrix({"day": [b"2024-01-27"]})
    save("test.parquet", {"day": ["27.01.2024", "2024-01-27"], "y": ["a", "b"]})
    with pytest.raises(BadRowsError, match=f"record 2, column 'day': {reason}"):
        read_dataset(source, seed=1)


def test_numbers_are_times_where_their_column_is_named(save: Save) -> None:
    """Epoch milliseconds as integers, floats and text give the same instants."""
    milliseconds = [1_706_702_700_000 + at * 43_200_000 for at in range(20)]
    formats = parse_date_formats(["t=epoch-ms"])
    digests = set()
    for name, times in (
        ("t.csv", milliseconds),
        ("t.jsonl", milliseconds),
        ("i.parquet", milliseconds),
        ("f.parquet", list(map(float, milliseconds))),
    ):
        source = TableSource(save(name, {"t": times, "y": LABELS}), "y", date_formats=formats)
        dataset = read_dataset(source, seed=1)
        assert dataset.schema.features[0].origin == "2024-01-31"
        digests.add(dataset.digest())
    assert len(digests) == 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["dym"], "unknown date format 'dym'"),
        (["epoch-s"], "give COLUMN=epoch-s"),
        (["dmy", "mdy"], "two formats for all columns"),
        (["day=dmy", "day=mdy"], "two formats for column 'day'"),
        (["day=%d"], "needs a year"),
    ],
)
def test_an_invalid_option_is_a_usage_error(options: Sequence[str], message: str) -> None:
    """Before a table is read."""
    with pytest.raises(UsageError, match=message):
        parse_date_formats(options)


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("mdy", "no column has dates in the format mdy"),
        ("day=mdy", "column 'day' has no date in the format mdy"),
        ("z=mdy", "--date-format: there is no column 'z'"),
        ("y=mdy", "'y' is the label: it cannot have a --date-format"),
    ],
)
def test_a_format_that_no_cell_has_is_refused(save: Save, option: str, message: str) -> None:
    """The column is neither left out as empty nor made categories."""
    path = save("t.csv", {"x": [1, 2] * 10, "day": ["31.12.2024", "30.12.2024"] * 10, "y": LABELS})
    with pytest.raises((SchemaError, UsageError), match=message):
        read_dataset(TableSource(path, "y", date_formats=parse_date_formats([option])), seed=1)


def test_an_equals_sign_may_be_in_a_name_or_a_format() -> None:
    """The last one that is followed by a format separates."""
    assert parse_date_formats(["a=b=dmy"]) == DateFormats("", {"a=b": "dmy"})
    assert parse_date_formats(["a=%d/%m/%Y", "b=%F"]).columns == {"a": "%d/%m/%Y", "b": "%F"}
