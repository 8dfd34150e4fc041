from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import pytest
import torch

from runtime.errors import BadRowsError, DataError, SchemaError
from runtime.tables.jsonl.reader import BLOCK_SIZE
from runtime.tables.options import ReadOptions
from trainer.data.reading import read_dataset
from trainer.data.report import format_report
from trainer.data.source import TableSource

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from runtime.choices import Decimal
    from runtime.schema.features import Unseen

    Columns = dict[str, list[Any]]
    Save = Callable[[str, Columns], Path]
    Table = Callable[[str], Path]

ENDINGS = ("csv", "tsv", "csv.gz", "jsonl", "parquet", "arrow")
NUMBERS = [f"{at},{at * at},{'no' if at < 5 else 'yes'}" for at in range(10)]


@pytest.mark.parametrize("ending", ENDINGS)
def test_every_format_gives_the_same_rows(save: Save, columns: Columns, ending: str) -> None:
    """What is fitted is what is scored: the cells as float32, the labels as they are written."""
    dataset = read_dataset(TableSource(save(f"t.{ending}", columns), "what kind"), seed=4)
    expected = read_dataset(TableSource(save("other.csv", columns), "what kind"), seed=4)
    assert dataset.schema == expected.schema
    assert dataset.digest() == expected.digest()
    assert dataset.schema.feature_names == ("größe cm", "a,b", "Σ")
    assert dataset.schema.classes == ("mid dle", "no", "über")
    rows = dataset.rows
    assert (len(rows.train_labels), len(rows.test_labels)) == (240, 60)
    cells = zip(*(columns[name] for name in dataset.schema.feature_names), strict=True)
    known = {tuple(torch.tensor(row).tolist()) for row in cells}
    assert {tuple(row) for row in rows.train_features.tolist()} <= known
    for feature, values in zip(dataset.schema.features, rows.train_features.T, strict=True):
        assert (feature.minimum, feature.maximum) == (float(values.min()), float(values.max()))


@pytest.mark.parametrize(
    ("labels", "classes"),
    [
        ([10, 9, -1], ("-1", "9", "10")),
        ([True, False, True], ("false", "true")),
        (["b", "a ", "Ä"], ("a ", "b", "Ä")),
        (["10", "9", "x"], ("10", "9", "x")),
    ],
    ids=["integers by value", "booleans", "text as written", "not all of them integers"],
)
@pytest.mark.parametrize("ending", ["jsonl", "parquet"])
def test_labels_are_text_integers_or_booleans(
    save: Save, labels: list[object], classes: tuple[str, ...], ending: str
) -> None:
    """Class names are the labels' text, in the order of their values."""
    path = save(f"t.{ending}", {"x": list(range(30)), "y": labels * 10})
    dataset = read_dataset(TableSource(path, "y"), seed=1)
    assert dataset.schema.classes == classes
    at = dataset.rows.train_features[:, 0].long() % 3
    texts = [str(label).lower() if isinstance(label, bool) else str(label) for label in labels]
    assert dataset.rows.train_labels.tolist() == [classes.index(texts[place]) for place in at]


def test_columns_are_selected_by_name(save: Save, columns: Columns) -> None:
    """``--features`` sets the order of the inputs, ``--exclude`` removes from all."""
    path = save("t.csv", {**columns, "note": ["x"] * 300})
    chosen = read_dataset(TableSource(path, "what kind", features=("Σ", "größe cm")), seed=1)
    assert chosen.schema.feature_names == ("Σ", "größe cm")
    left = read_dataset(TableSource(path, "what kind", exclude=("a,b", "note")), seed=1)
    assert left.schema.feature_names == ("größe cm", "Σ")
    assert torch.equal(left.rows.train_features, chosen.rows.train_features.flip(1))


def test_a_test_set_is_read_as_it_would_be_scored(save: Save, columns: Columns) -> None:
    """Its columns are bound by name, and no row of the other table is split off."""
    path = save("t.csv", columns)
    turned = save("test.jsonl", dict(reversed(columns.items())))
    dataset = read_dataset(TableSource(path, "what kind", test=turned), seed=1)
    assert torch.equal(dataset.rows.train_features, dataset.rows.test_features)
    assert torch.equal(dataset.rows.train_labels, dataset.rows.test_labels)
    assert len(dataset.rows.test_labels) == 300


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["x,z", "1,a"], "--label: there is no column 'y'; it has 'x', 'z'"),
        (["x,Y ", "1,a"], "--label: there is no column 'y'; did you mean 'Y '?"),
        (["y,y,x", "a,b,1"], "--label: 2 columns are named 'y'"),
        (["x,x,y", "1,2,a"], "column 'x' appears more than once"),
        (["y", "a", "b"], "no feature column is left to predict 'y'"),
        (["x,,y", "1,2,a"], "column 2 has no name: exclude by position with --exclude '#2' ("),
        (
            [",x,,y", "1,2,z,a"],
            "columns 1, 3 have no name: exclude by position with --exclude '#1,#3'",
        ),
        (["x,y", "1,a", "2,a"], "label 'y' is 'a' in every row"),
        (["x,y", "1,", "2,"], "label 'y' is empty in every row"),
        (["x,y"], "t.csv: there are no rows to learn from"),
        (["x,y", "1,a", "2,a", "3,b"], "of label 'y', 1 class has a single row ('b')"),
        (
            ["x,y", "1,0", "2,NaN", "3,1.0", "4,nan", "5,nan"],
            "label 'y' is NaN in 3 rows, which",
        ),
        (["x,y", *(f"1,{at}" for at in range(1100))], "more than 1,024 distinct values"),
        (
            ["n,x,y", *(f"a{at},{at},{at % 2}" for at in range(300))],
            (
                "'n' has more than 256 distinct texts, too many for categories: exclude "
                "it with --exclude n, or keep the most frequent with --rare other, or merge"
            ),
        ),
        (["x,y", ",a", ",b", ",a", ",b"], "no feature column has a filled cell to predict 'y'"),
    ],
)
def test_a_table_unfit_for_training_is_refused(
    table: Table, lines: list[str], message: str
) -> None:
    """One message with the table, the column and what to do."""
    path = table("\n".join(lines) + "\n")
    with pytest.raises(SchemaError, match=r"t\.csv: ") as refusal:
        read_dataset(TableSource(path, "y"), seed=1)
    assert message in str(refusal.value)


@pytest.mark.parametrize(
    "lines",
    [
        ["x;y;", *["1;a;", "2;b;"] * 9],
        [";;x;y;", *["; ;1;a;", ";;2;b;\t"] * 9],
    ],
    ids=["trailing delimiters", "several, with blanks"],
)
def test_nameless_columns_without_a_filled_cell_are_excluded(
    table: Table, lines: list[str]
) -> None:
    """As every column without a filled cell is, with a finding."""
    dataset = read_dataset(TableSource(table("\n".join(lines) + "\n"), "y"), seed=1)
    assert dataset.schema.feature_names == ("x",)
    assert dataset.check is not None
    assert f"#{len(lines[0].split(';'))}" in dataset.check.empty


@pytest.mark.parametrize("ending", ["csv", "jsonl", "parquet"])
def test_a_nameless_column_is_excluded_by_position(save: Save, ending: str) -> None:
    """As the row numbers are that pandas writes, in every format."""
    columns: Columns = {
        "": list(range(20)),
        "x": [1, 2] * 10,
        "z": [3, 4] * 10,
        "y": ["a", "b"] * 10,
    }
    source = TableSource(save(f"t.{ending}", columns), "y", exclude=("#1", "#3"))
    assert read_dataset(source, seed=1).schema.feature_names == ("x",)


def test_a_name_that_looks_like_a_position_comes_first(table: Table) -> None:
    """A position beyond the last column is refused."""
    path = table("x,#1,y\n" + "1,2,a\n2,1,b\n" * 9)
    dataset = read_dataset(TableSource(path, "y", exclude=("#1",)), seed=1)
    assert dataset.schema.feature_names == ("x",)
    with pytest.raises(SchemaError, match="--exclude '#4': the table has 3 columns"):
        read_dataset(TableSource(path, "y", exclude=("#4",)), seed=1)


def test_the_index_of_a_data_frame_is_a_finding(save: Save) -> None:
    """It is a feature like any other, but probably means nothing."""
    index = {"__index_level_0__": [*range(10), *range(10)]}
    path = save("t.parquet", {"x": [1, 2] * 10, "y": ["a", "b"] * 10, **index})
    dataset = read_dataset(TableSource(path, "y"), seed=1)
    assert dataset.check is not None
    assert dataset.check.index == ("__index_level_0__",)
    assert "--exclude __index_level_0__" in format_report(dataset.check, TableSource(path, "y"))


def test_nan_among_texts_is_a_text_where_declared(table: Table) -> None:
    """A class may have that name if no other is a number."""
    path = table("x,y\n" + "1,nan\n2,pita\n" * 9)
    declared = TableSource(path, "y", categories=("y",))
    assert read_dataset(declared, seed=1).schema.classes == ("nan", "pita")


@pytest.mark.parametrize("word", ["NA", "N/A", "NULL", "None", "nan", "-", "?"])
def test_a_word_for_missing_is_no_class_unasked(table: Table, word: str) -> None:
    """Either its rows have no label, or it is declared to be a class."""
    path = table("x,y\n" + f"1,{word}\n2,no\n3,yes\n" * 9)
    quoted = re.escape(word)
    match = f"label 'y' is '{quoted}' in 9 rows.* --missing '?{quoted}'?; .* --categories y"
    with pytest.raises(SchemaError, match=match):
        read_dataset(TableSource(path, "y"), seed=1)
    declared = read_dataset(TableSource(path, "y", categories=("y",)), seed=1)
    assert set(declared.schema.classes) == {word, "no", "yes"}
    with pytest.raises(BadRowsError, match="9 of 27 rows"):
        read_dataset(TableSource(path, "y", missing=(word,)), seed=1)


def test_bad_rows_are_listed_as_in_predict(table: Table) -> None:
    """Record, line, column and reason of cells, short records and missing labels, in order."""
    lines = [*NUMBERS, "1e99,1,no", "7", "8,9, ", "n/a,1,", *NUMBERS]
    with pytest.raises(BadRowsError) as refusal:
        read_dataset(TableSource(table("a,b,y\n" + "\n".join(lines) + "\n"), "y"), seed=1)
    assert (
        str(refusal.value)
        .splitlines()[0]
        .endswith("t.csv: 4 of 24 rows cannot be fitted; nothing was fitted")
    )
    assert str(refusal.value).splitlines()[1:] == [
        "  record 11 (line 12), column 'a': '1e99': out of float32's range",
        "  record 12 (line 13): too few fields (1 instead of 3)",
        "  record 13 (line 14), column 'y': '': missing value",
        "  record 14 (line 15), column 'a': 'n/a': not a number",
        "column 'a': if 'n/a' means missing, give --missing n/a",
        "fix them, or continue with --bad-rows reject",
        "also found:",
        "  'a', 'b': alone determines the label, possible target leakage",
    ]


def test_an_unknown_class_in_the_test_set_is_a_bad_row(save: Save) -> None:
    """It is reported, not counted as a wrong prediction."""
    path = save("t.csv", {"x": [1, 2, 3, 4], "y": ["a", "b", "a", "b"]})
    test = save("test.csv", {"x": [1, 2], "y": ["a", "c"]})
    with pytest.raises(BadRowsError, match=r"record 2 .*column 'y': 'c': not one of the classes"):
        read_dataset(TableSource(path, "y", test=test), seed=1)


def test_a_table_that_is_missing_is_named(tmp_path: Path) -> None:
    """The message says which file."""
    with pytest.raises(DataError, match=r"absent\.csv"):
        read_dataset(TableSource(tmp_path / "absent.csv", "y"), seed=1)


MIXED: Columns = {
    "x": [0.5, 1.5, -1.0, 2.0] * 5,
    "farbe": ["rot", None, "grün", "blau, hell"] * 5,
    "fresh": [True, False, False, True] * 5,
    "zip": [10115, 20095, 10115, 80331] * 5,
    "y": ["a", "b"] * 10,
}


@pytest.mark.parametrize("ending", ENDINGS)
def test_texts_are_categories_in_every_format(save: Save, ending: str) -> None:
    """One input per category, missing cells included; numbers only where declared."""
    path = save(f"t.{ending}", MIXED)
    if ending in {"csv", "tsv", "csv.gz"}:
        path = save(
            f"t.{ending}", {**MIXED, "fresh": [str(cell).lower() for cell in MIXED["fresh"]]}
        )
    dataset = read_dataset(TableSource(path, "y", categories=("zip",)), seed=1)
    assert dataset.schema.feature_names == ("x", "farbe", "fresh", "zip")
    assert dataset.schema.inputs == (
        "x",
        *("farbe=", "farbe=blau, hell", "farbe=grün", "farbe=rot"),
        *("fresh=false", "fresh=true"),
        *("zip=10115", "zip=20095", "zip=80331"),
    )
    rows = {tuple(row) for row in dataset.rows.train_features.tolist()}
    assert rows == {
        (0.5, 0, 0, 0, 1, 0, 1, 1, 0, 0),
        (1.5, 1, 0, 0, 0, 1, 0, 0, 1, 0),
        (-1.0, 0, 0, 1, 0, 1, 0, 1, 0, 0),
        (2.0, 0, 1, 0, 0, 0, 1, 0, 0, 1),
    }


@pytest.mark.parametrize(
    ("values", "decimal", "advice"),
    [
        (
            ["1,5", "12", "2,25", "7"],
            ".",
            r"column 'a' .* decimal commas: give --decimal ,, for .*\n.* --categories a\n",
        ),
        (["1.5", "12", "2.25", "v"] * 20 + ["2.75"], ",", "give --decimal ., .* --missing v"),
        (["1.5", "12.1", "2.25"], ",", "column 'a' .* decimal points: give --decimal ."),
        (["1,234,567", "12", "2,345,678"], ".", "column 'a' .* thousands separators"),
        (["1,5", "red", "2,5", "blue", "green"], ".", None),
    ],
    ids=["commas", "a few words", "points", "thousands", "words"],
)
def test_numbers_in_another_format_are_no_categories(
    save: Save, values: list[str], decimal: Decimal, advice: str | None
) -> None:
    """Silently made categories, the numbers would lose their order."""
    cells = [values[at % len(values)] for at in range(40)]
    table: Columns = {"a": cells, "b": list(range(40)), "y": ["no", "yes"] * 20}
    path = save("t.tsv", table)
    reading = ReadOptions(decimal=decimal)
    declared = read_dataset(TableSource(path, "y", categories=("a",), reading=reading), seed=1)
    assert declared.schema.features[0].categories
    source = TableSource(path, "y", reading=reading)
    if advice is None:
        assert read_dataset(source, seed=1).schema == declared.schema
        return
    with pytest.raises(SchemaError, match=advice):
        read_dataset(source, seed=1)


def test_a_misspelt_boolean_is_never_scored_as_neither(save: Save) -> None:
    """``TRUE`` for ``true`` is refused, not scored as an unknown category."""
    at = range(40)
    table: Columns = {
        "on": [number % 2 == 0 for number in at],
        "colour": ["red" if number % 3 else "blue" for number in at],
        "y": ["no" if number % 5 else "yes" for number in at],
    }
    for ending in ("csv", "parquet", "jsonl"):
        source = TableSource(save(f"t.{ending}", table), "y", unseen="other")
        features = read_dataset(source, seed=1).schema.features
        assert [each.one_hot and each.one_hot.unseen for each in features] == ["error", "other"]


@pytest.mark.parametrize("unseen", ["error", "other"])
def test_an_unseen_category_in_the_test_set_follows_the_policy(save: Save, unseen: Unseen) -> None:
    """As in scoring: a bad cell, or none of the categories."""
    path = save("t.csv", {"c": ["p", "q"] * 4, "y": ["a", "b"] * 4})
    test = save("test.csv", {"c": ["p", "new"], "y": ["a", "b"]})
    source = TableSource(path, "y", test=test, unseen=unseen)
    if unseen == "error":
        with pytest.raises(BadRowsError, match=r"record 2 .*'new': a category that training"):
            read_dataset(source, seed=1)
    else:
        assert read_dataset(source, seed=1).rows.test_features.tolist() == [[1, 0], [0, 0]]


def test_a_column_may_start_with_missing_cells(save: Save) -> None:
    """Its type comes from the first filled cell; its missing cells are counted."""
    rows = 200_000
    columns: Columns = {
        "x": list(range(rows)),
        "late": [None] * (rows - 4) + ["p", "q", "p", "q"],
        "y": ["a", "b"] * (rows // 2),
    }
    for ending in ("csv", "parquet"):
        schema = read_dataset(TableSource(save(f"t.{ending}", columns), "y"), seed=1).schema
        assert schema.inputs == ("x", "late=", "late=p", "late=q")


LATE = ["k", 3, None, "2024-01-02", {"a": 1}]


@pytest.mark.parametrize("value", LATE, ids=["text", "number", "null", "date", "object"])
def test_a_key_of_later_records_is_a_column(tmp_path: Path, value: object) -> None:
    """Wherever a key appears first, its column is that of a table that has it in every record."""
    records: list[dict[str, Any]] = [{"x": at, "y": "ab"[at % 2]} for at in range(40)]
    late = [record | ({"late": value} if at >= 20 else {}) for at, record in enumerate(records)]
    late[0] = late[0] | {"pad": "x" * (BLOCK_SIZE - 200)}  # the others are in another block
    full = [{"late": None, "pad": ""} | record for record in late]
    datasets = []
    for name, table in (("late.jsonl", late), ("full.jsonl", full)):
        path = tmp_path / name
        path.write_text("".join(json.dumps(record) + "\n" for record in table))
        datasets.append(read_dataset(TableSource(path, "y", exclude=("pad",)), seed=1))
    found, expected = (
        ({feature.name: feature for feature in dataset.schema.features}, dataset.check)
        for dataset in datasets
    )
    assert found[0] == expected[0]
    assert found[1] is not None
    assert found[1].empty == (("late",) if value is None else ())
    if value is not None:
        assert [(each.name, each.cells) for each in found[1].missing] == [("late", 20)]
        assert list(found[0]) == ["x", "late"]


def test_a_test_set_may_lack_a_key(tmp_path: Path) -> None:
    """A key that none of its records has is missing; without the label it is refused."""
    records = [{"x": at, "z": None if at < 9 else 1, "y": "ab"[at % 2]} for at in range(40)]
    data, test = tmp_path / "t.jsonl", tmp_path / "test.jsonl"
    data.write_text("".join(json.dumps(record) + "\n" for record in records))
    test.write_text('{"x": 1, "y": "a"}\n{"x": 2, "y": "b"}\n')
    rows = read_dataset(TableSource(data, "y", test=test), seed=1).rows
    assert rows.test_features[:, 1].isnan().all()
    test.write_text('{"x": 1, "Y": "a"}\n')
    with pytest.raises(SchemaError, match="there is no column 'y'; did you mean 'Y'"):
        read_dataset(TableSource(data, "y", test=test), seed=1)


def test_categories_have_to_be_features(save: Save) -> None:
    """An excluded column cannot be categorical."""
    path = save("t.csv", MIXED)
    with pytest.raises(SchemaError, match="--categories names 'zip', which is not a feature"):
        read_dataset(TableSource(path, "y", exclude=("zip",), categories=("zip",)), seed=1)


@pytest.mark.parametrize("ending", ENDINGS)
def test_missing_numbers_are_allowed_where_training_had_some(save: Save, ending: str) -> None:
    """The schema allows them in these columns only, and describes the known numbers."""
    columns: Columns = {
        "x": [1.0, None, 3.0, 4.0] * 10,
        "z": list(range(40)),
        "y": ["a", "b"] * 20,
    }
    dataset = read_dataset(TableSource(save(f"t.{ending}", columns), "y"), seed=1)
    first, second = dataset.schema.features
    assert (first.missing, second.missing) == ("imputed", "refused")
    assert (first.minimum, first.maximum, dataset.schema.imputed_inputs) == (1, 4, (0,))
    rows = dataset.rows
    assert int(rows.train_features.isnan().sum() + rows.test_features.isnan().sum()) == 10
    assert not rows.train_features[:, 1].isnan().any()
    assert dataset.check is not None
    assert [(each.name, each.cells) for each in dataset.check.missing] == [("x", 10)]
    test = save("test.csv", {"x": [None, 2], "z": [None, 2], "y": ["a", "b"]})
    with pytest.raises(BadRowsError, match=r"record 1 .*column 'z'.*missing value"):
        read_dataset(TableSource(save(f"t.{ending}", columns), "y", test=test), seed=1)


def test_a_column_without_a_training_number_is_refused(save: Save) -> None:
    """It would have no mean for imputation."""
    columns: Columns = {"x": [None] * 40, "z": list(range(40)), "y": ["a", "b"] * 20}
    path = save("t.csv", columns)
    chosen = read_dataset(TableSource(path, "y"), seed=1).rows.test_features
    columns["x"][int(chosen[0, 0])] = 5
    with pytest.raises(SchemaError, match=r"column 'x' has no number .* --exclude x"):
        read_dataset(TableSource(save("t.csv", columns), "y"), seed=1)


def test_decimal_commas_are_numbers_with_the_option(tmp_path: Path) -> None:
    """In delimited text and in the texts of JSON; JSON numbers keep their point."""
    reading = ReadOptions(decimal=",")
    (tmp_path / "t.csv").write_text("x;z;y\n" + "1,5;2,25;a\n3,5;4,25;b\n" * 4)
    lines = '{"x":"1,5","z":2.25,"y":"a"}\n{"x":"3,5","z":4.25,"y":"b"}\n' * 4
    (tmp_path / "t.jsonl").write_text(lines)
    for name in ("t.csv", "t.jsonl"):
        dataset = read_dataset(TableSource(tmp_path / name, "y", reading=reading), seed=1)
        assert dataset.schema.inputs == ("x", "z")
        rows = {tuple(row) for row in dataset.rows.train_features.tolist()}
        assert rows == {(1.5, 2.25), (3.5, 4.25)}


@pytest.mark.parametrize("ending", ["csv", "jsonl", "parquet"])
def test_a_folder_is_fitted_as_one_table(save: Save, tmp_path: Path, ending: str) -> None:
    """Files in the order of their paths; the keys of folders are features, and may be the label."""
    rows = 40
    table: Columns = {
        "x": [float(at * 7 % 11) for at in range(rows)],
        "z": list("ab") * (rows // 2),
    }
    years, labels = [2023] * 20 + [2024] * 20, (["no"] * 10 + ["yes"] * 10) * 2
    whole = save("whole.csv", {**table, "year": years, "y": labels})
    for start in range(0, rows, 10):
        folder = tmp_path / "in" / f"year={years[start]}" / f"y={labels[start]}"
        folder.mkdir(parents=True)
        part = {name: cells[start : start + 10] for name, cells in reversed(table.items())}
        save(f"{folder.relative_to(tmp_path)}/p.{ending}", part)
    (tmp_path / "in" / "_SUCCESS").touch()
    options = {"features": ("x", "z", "year"), "unseen": "other"}
    expected = read_dataset(TableSource(whole, "y", **options), seed=1)  # type: ignore[arg-type]
    found = read_dataset(TableSource(tmp_path / "in", "y", **options), seed=1)  # type: ignore[arg-type]
    assert (found.schema, found.digest()) == (expected.schema, expected.digest())
    pattern = TableSource(tmp_path / "in" / "*" / "*" / f"*.{ending}", "y", test=tmp_path / "in")
    assert len(read_dataset(pattern, seed=1).rows.test_labels) == rows


def test_bad_rows_of_a_folder_are_named_by_file(tmp_path: Path) -> None:
    """Records and lines are those of the file."""
    (tmp_path / "a.csv").write_text("x,y\n" + "1,a\n2,b\n" * 30)
    (tmp_path / "b.csv").write_text("x,y\n1,a\n?,b\n2,\n")
    with pytest.raises(BadRowsError) as refusal:
        read_dataset(TableSource(tmp_path, "y"), seed=1)
    message = str(refusal.value)
    assert f"{tmp_path}: 2 of 63 rows cannot be fitted" in message
    assert f"{tmp_path}/b.csv, record 2 (line 3), column 'x': '?': not a number" in message
    assert f"{tmp_path}/b.csv, record 3 (line 4), column 'y': '': missing value" in message
