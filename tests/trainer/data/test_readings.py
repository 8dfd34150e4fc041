from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from trainer.data.dataset import DataCheck
from trainer.data.date_formats import DateFormats
from trainer.data.reading import read_dataset
from trainer.data.readings import ColumnReading, format_readings
from trainer.data.report import format_report
from trainer.data.source import TableSource

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Columns = dict[str, list[Any]]
    Save = Callable[[str, Columns], Path]


def test_the_report_says_what_each_column_was_taken_for(save: Save) -> None:
    """In the order of the table, left-out columns with the reason; the run's record has it too."""
    table: Columns = {
        "age": ["18", "NA", "20", ""] * 10,
        "when": ["2024-01-01", "2024-02-01"] * 20,
        "since": ["31.12.2023", "30.12.2023"] * 20,
        "y": ["a", "b"] * 20,
        "kind": ["web", "shop", "", "web"] * 10,
        "id": list(range(40)),
        "none": [""] * 40,
    }
    path = save("t.csv", table)
    formats = DateFormats("dmy")
    source = TableSource(path, "y", exclude=("id",), missing=("NA",), date_formats=formats)
    check = read_dataset(source, seed=1).check
    assert check is not None
    assert format_report(check, source).splitlines()[2:8] == [
        "  'age': number, 20 missing (empty, 'NA')",
        "  'when': date",
        "  'since': date in the format dmy",
        "  'kind': 3 categories, 10 missing (empty, 'NA')",
        "  'id': left out, named in --exclude",
        "  'none': left out, all cells are missing",
    ]
    assert msgspec.json.decode(msgspec.json.encode(check), type=DataCheck) == check
    chosen = read_dataset(TableSource(path, "y", features=("kind",)), seed=1).check
    assert chosen is not None
    assert [each.reason for each in chosen.columns if each.taken == "left out"] == [
        "not among --features"
    ] * 5


def test_words_for_missing_among_categories_are_named(save: Save) -> None:
    """They stay categories, with the option that makes them missing."""
    path = save("t.csv", {"kind": ["web", "shop", "NA", "?"] * 5, "y": ["a", "b"] * 10})
    source = TableSource(path, "y")
    check = read_dataset(source, seed=1).check
    assert check is not None
    assert format_report(check, source).splitlines()[2] == (
        "  'kind': 4 categories; '?', 'NA' among them: to read such cells as missing, "
        "give --missing '?,NA'"
    )


def test_a_wide_table_is_cut() -> None:
    """Twenty columns are shown, the others counted; the check keeps all."""
    readings = [ColumnReading(f"c{at}", "number") for at in range(1020)]
    readings += [ColumnReading("k", "categories", 2), ColumnReading("z", "left out", reason="x")]
    lines = list(format_readings(readings))
    assert len(lines) == 21
    assert lines[-1] == "and 1,002 more columns: 1,000 numbers, 1 of categories, 1 left out"
