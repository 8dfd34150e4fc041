from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Any

import pytest
import torch

from runtime.errors import BadRowsError, SchemaError
from trainer.data.reading import read_dataset
from trainer.data.report import format_report
from trainer.data.source import TableSource

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Columns = dict[str, list[Any]]
    Save = Callable[[str, Columns], Path]

DAYS = [dt.date(2024, 2, 25) + dt.timedelta(days=at) for at in range(10)]
TIMES = [dt.datetime(2024, 2, 25, at, 30) if at % 5 else None for at in range(10)]  # noqa: DTZ001 - UTC
LABELS = ["a", "b"] * 10


def columns(*, typed: bool) -> Columns:
    """Dates and times with gaps, as values or as their text."""
    if typed:
        return {"day": DAYS * 2, "time": TIMES * 2, "y": LABELS}
    times = [time and time.isoformat() + "+00:00" for time in TIMES]
    return {"day": [day.isoformat() for day in DAYS] * 2, "time": times * 2, "y": LABELS}


@pytest.mark.parametrize("ending", ["csv", "tsv", "csv.gz", "jsonl", "parquet", "arrow"])
def test_dates_are_days_in_every_format(save: Save, ending: str) -> None:
    """A date column is one input, days since the earliest; missing dates are imputed."""
    dataset = read_dataset(TableSource(save(f"t.{ending}", columns(typed=False)), "y"), seed=1)
    day, time = dataset.schema.features
    assert (day.origin, day.missing) == ("2024-02-25", "refused")
    assert (time.origin, time.missing) == ("2024-02-25", "imputed")
    assert dataset.schema.inputs == ("day", "time")
    rows = torch.cat([dataset.rows.train_features, dataset.rows.test_features])
    assert sorted(rows[:, 0].tolist()) == sorted(2 * list(map(float, range(10))))
    known = rows[~rows[:, 1].isnan(), 1]
    hours = torch.tensor([at + 0.5 for at in range(10) if at % 5], dtype=torch.float64)
    assert sorted(set(known.tolist())) == (hours / 24).float().tolist()
    other = read_dataset(TableSource(save("other.parquet", columns(typed=True)), "y"), seed=1)
    assert other.schema == dataset.schema
    assert other.digest() == dataset.digest()


def test_dates_can_be_declared_categories(save: Save) -> None:
    """``--categories`` overrides the detected type of a column."""
    for ending, typed in (("csv", False), ("parquet", True)):
        path = save(f"t.{ending}", columns(typed=typed))
        schema = read_dataset(TableSource(path, "y", categories=("day",)), seed=1).schema
        assert schema.inputs[:2] == ("day=2024-02-25", "day=2024-02-26")


def test_other_text_in_a_date_column_is_a_bad_cell(save: Save) -> None:
    """It is listed like a bad number, and nothing is trained."""
    table = columns(typed=False)
    table["day"][3] = "soon"
    with pytest.raises(BadRowsError, match=r"record 4 .*column 'day': 'soon': not an ISO date"):
        read_dataset(TableSource(save("t.csv", table), "y"), seed=1)


def test_a_column_with_few_dates_is_categorical_where_declared(save: Save) -> None:
    """A date column needs dates in nearly all of its filled cells."""
    table = columns(typed=False)
    table["day"][::2] = ["soon"] * 10
    path = save("t.csv", table)
    with pytest.raises(
        SchemaError, match=r"ISO dates, but also 'soon' \(line 2\): .* --missing soon"
    ):
        read_dataset(TableSource(path, "y"), seed=1)
    schema = read_dataset(TableSource(path, "y", categories=("day",)), seed=1).schema
    assert schema.inputs[-2:] == ("day=soon", "time")
    schema = read_dataset(TableSource(path, "y", missing=("soon",)), seed=1).schema
    assert schema.inputs == ("day", "time")


def test_an_empty_date_column_is_excluded(save: Save) -> None:
    """Like an empty text column."""
    import pyarrow as pa
    from pyarrow import parquet

    table = pa.table({"x": list(range(20)), "when": pa.nulls(20, pa.date32()), "y": LABELS})
    path = save("t.csv", columns(typed=False)).with_suffix(".parquet")
    parquet.write_table(table, path)
    dataset = read_dataset(TableSource(path, "y"), seed=1)
    assert dataset.schema.feature_names == ("x",)
    assert dataset.check is not None
    assert dataset.check.empty == ("when",)


def test_the_check_describes_dates(save: Save) -> None:
    """Origin, and the resolution of times in float32; whole days are exact."""
    path = save("t.csv", columns(typed=False))
    dataset = read_dataset(TableSource(path, "y"), seed=1)
    assert dataset.check is not None
    report = format_report(dataset.check, TableSource(path, "y")).splitlines()
    assert "  'day': dates, encoded as days since 2024-02-25" in report
    assert (
        "  'time': dates, encoded as days since 2024-02-25, times with a resolution of 0.0013 s"
        in report
    )
