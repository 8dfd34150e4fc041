from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from trainer.data.cell_options import DateFormats
from trainer.data.column_summary import ColumnSummary, format_summaries
from trainer.data.dataset import DataCheck
from trainer.data.reading import read_dataset
from trainer.data.report import format_report
from trainer.data.source import TableSource

if TYPE_CHECKING:
    from collections.abc import Callable

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
        "  'id': left out, excluded by name",
        "  'none': left out, all cells are missing",
    ]
    assert msgspec.json.decode(msgspec.json.encode(check), type=DataCheck) == check
    chosen = read_dataset(TableSource(path, "y", features=("kind",)), seed=1).check
    assert chosen is not None
    assert [each.reason for each in chosen.columns if each.taken == "left out"] == [
        "not among the chosen features"
    ] * 5


def test_missing_cells_are_reported_once(save: Save) -> None:
    """In the line of the column; of the many columns without one, in a line for all of them."""
    numbers: Columns = {f"n{at:02}": [at, *range(39)] for at in range(19)}
    numbers |= {"gaps": ["", *range(39)], "none": [""] * 40, "more gaps": ["", "", *range(38)]}
    path = save("t.csv", numbers | {"y": ["a", "b"] * 20})
    source = TableSource(path, "y")
    check = read_dataset(source, seed=1).check
    assert check is not None
    lines = [line for line in format_report(check, source).splitlines() if "missing" in line]
    assert lines == [
        "  'gaps': number, 1 missing",
        "  'none': all cells are missing, excluded",
        "  missing cells: 2 in 'more gaps'",
    ]


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


SPELLINGS = ["web", "WEB", "web ", "shop"]


def test_categories_that_differ_in_case_are_found_and_joined(save: Save) -> None:
    """A finding with the option, which the schema keeps."""
    path = save("t.csv", {"kind": SPELLINGS * 5, "y": ["a", "b"] * 10})
    source = TableSource(path, "y")
    check = read_dataset(source, seed=1).check
    assert check is not None
    assert format_report(check, source).splitlines()[2] == (
        "  'kind': 4 categories; 3 of them differ only in case, blanks or Unicode form, such "
        "as 'WEB' and 'web' and 'web ': join them with --fold-categories"
    )
    joined = read_dataset(TableSource(path, "y", fold_categories=True), seed=1)
    assert joined.schema.inputs == ("kind=shop", "kind=web")
    assert joined.schema.features[0].is_folded
    assert joined.rows.train_features.sum(0).tolist() == [4, 12]


def test_booleans_are_learnt_alike_from_every_format(save: Save) -> None:
    """The same schema and rows from text, JSON and typed columns, with gaps."""
    flags = [True, False, None, True] * 5
    typed: Columns = {"on": flags, "y": ["a", "b"] * 10}
    texts: Columns = {
        "on": [None if flag is None else str(flag) for flag in flags],
        "y": typed["y"],
    }
    tables = [("t.csv", texts), ("t.jsonl", typed), ("t.parquet", typed), ("s.parquet", texts)]
    found = [read_dataset(TableSource(save(*table), "y"), seed=1) for table in tables]
    assert {each.schema.inputs for each in found} == {("on=", "on=false", "on=true")}
    assert len({each.digest() for each in found}) == 1
    assert len({each.schema.to_json() for each in found}) == 1
    assert found[0].check is not None
    source = TableSource(Path("t.csv"), "y")
    assert format_report(found[0].check, source).splitlines()[2] == "  'on': boolean, 5 missing"


def test_a_wide_table_is_cut() -> None:
    """Twenty columns are shown, the others counted; the check keeps all."""
    readings = [ColumnSummary(f"c{at}", "number") for at in range(1020)]
    readings += [ColumnSummary("k", "categories", 2), ColumnSummary("z", "left out", reason="x")]
    lines = list(format_summaries(readings))
    assert len(lines) == 21
    assert lines[-1] == "and 1,002 more columns: 1,000 numbers, 1 of categories, 1 left out"
