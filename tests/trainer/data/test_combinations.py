"""Options of ``trainer fit`` and kinds of tables, together."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from runtime.encoding import Encoder
from runtime.errors import SchemaError, UsageError
from runtime.io.charsets import parse_encoding
from runtime.io.sinks import open_sinks
from runtime.schema.features import Feature, OneHot
from runtime.tables.arrays import binary_array
from runtime.tables.options import ReadOptions
from trainer.data.cell_options import parse_date_formats
from trainer.data.reading import read_dataset
from trainer.data.source import TableSource

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from trainer.data.dataset import Dataset

    Columns = dict[str, list[Any]]
    Save = Callable[[str, Columns], Path]

LATE = 20_000  # records before a key, beyond the first block


def write_csv(path: Path, rows: int, extra: str = "", encoding: str = "utf-8") -> Path:
    """Write a table of x, c and y."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [f"{at},{'pq'[at % 2]},{'no' if at % 3 else 'yes'}\n" for at in range(rows)]
    path.write_text("x,c,y\n" + "".join(lines) + extra, encoding=encoding)
    return path


def write_late(path: Path, key: str, value: str, records: int = LATE + 100) -> Path:
    """Write JSON Lines of x and y; the last records have one key more."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8") as stream:
        for at in range(records):
            more = {key: value} if at >= LATE else {}
            stream.write(json.dumps({"x": at * 7919 % 10007, "y": "ab"[at % 2], **more}) + "\n")
    return path


def read(source: TableSource) -> Dataset:
    """Read a dataset and write its rejects files."""
    with open_sinks() as open_sink:
        return read_dataset(source, seed=1, open_sink=open_sink)


def test_rejected_rows_of_a_folder_name_their_file(tmp_path: Path) -> None:
    """Record numbers are per file; the text keeps the bytes of the files' encoding."""
    first = write_csv(tmp_path / "in" / "a.csv", 9, "bad,p,no\n", "cp1252")
    second = write_csv(tmp_path / "in" / "b.csv", 9, "7,p\n1,p,\nä,p,no\n", "cp1252")
    rejects = tmp_path / "r.csv"
    reading = ReadOptions(encoding=parse_encoding("cp1252"))
    read(TableSource(tmp_path / "in", "y", bad_rows="reject", rejects=rejects, reading=reading))
    assert rejects.read_text("cp1252").splitlines() == [
        "file,record,line,column,value,reason,text",
        f'{first},10,11,x,bad,not a number,"bad,p,no"',
        f'{second},10,11,,,too few fields (2 instead of 3),"7,p"',
        f'{second},11,12,y,,missing value,"1,p,"',
        f'{second},12,13,x,ä,not a number,"ä,p,no"',
    ]


@pytest.mark.parametrize("name", ["in", "in/*.csv", "in/b.csv"])
def test_rejected_rows_never_replace_a_file_of_the_table(tmp_path: Path, name: str) -> None:
    """Of a folder and a pattern, too."""
    write_csv(tmp_path / "in" / "a.csv", 9)
    path = write_csv(tmp_path / "in" / "b.csv", 9)
    with pytest.raises(UsageError, match="is the input"):
        TableSource(tmp_path / name, "y", bad_rows="reject", rejects=path)


@pytest.mark.parametrize("name", ["in/t.jsonl", "in"])
def test_a_notation_of_a_late_key_is_located(tmp_path: Path, name: str) -> None:
    """In the record that has it, and of a folder in its file."""
    path = write_late(tmp_path / "in" / "t.jsonl", "p", "7%", LATE + 9_000)
    file = f"{path}, " if name == "in" else ""
    with pytest.raises(SchemaError, match=f"'7%' [(]{file}line {LATE + 1}[)]"):
        read_dataset(TableSource(tmp_path / name, "y"), seed=1)


@pytest.mark.parametrize("test", ["few.jsonl", "late.jsonl", "folder"])
def test_a_test_set_may_lack_a_late_key_or_have_it_later(tmp_path: Path, test: str) -> None:
    """An absent key is a missing value, a late one is read where it is."""
    table = write_late(tmp_path / "in" / "t.jsonl", "k", "q")
    write_late(tmp_path / "few.jsonl", "k", "q", 10)
    write_late(tmp_path / "late.jsonl", "k", "q")
    write_late(tmp_path / "folder" / "t.jsonl", "k", "q")
    dataset = read_dataset(TableSource(table, "y", test=tmp_path / test), seed=1)
    assert dataset.schema.inputs == ("x", "k=", "k=q")
    found = dataset.rows.test_features[:, 2].sum()
    assert found == (0 if test == "few.jsonl" else 100)


@pytest.mark.parametrize("test", ["in/k=NA/t.csv", "in/k=NA", "in/k=N*/t.csv"])
def test_a_test_set_has_the_keys_of_its_path(tmp_path: Path, test: str) -> None:
    """As a scored table has them: also one file, and the folder of one value."""
    for key in ("True", "FALSE", "NA", "__HIVE_DEFAULT_PARTITION__"):
        write_csv(tmp_path / "in" / f"k={key}" / "t.csv", 9)
    source = TableSource(tmp_path / "in", "y", test=tmp_path / test, missing=("NA",))
    dataset = read_dataset(source, seed=1)
    assert dataset.schema.features[2].categories == ("", "false", "true")
    assert dataset.rows.test_features[:, 3:].sum(0).tolist() == [9, 0, 0]
    assert dataset.check is not None
    assert dataset.check.missing[0].cells == 27


def test_the_keys_above_one_table_are_no_columns(tmp_path: Path) -> None:
    """All rows have the same value: the features are those of the file alone."""
    path = write_csv(tmp_path / "year=2024" / "t.csv", 20)
    assert read_dataset(TableSource(path, "y"), seed=1).schema.feature_names == ("x", "c")


def test_keys_are_dates_in_a_format(tmp_path: Path) -> None:
    """With texts for missing among them, from which no other row is dated."""
    for key in ("01.02.2024", "03.02.2024", "NA"):
        write_csv(tmp_path / "in" / f"day={key}" / "t.csv", 9)
    formats = parse_date_formats(["day=dmy"])
    source = TableSource(tmp_path / "in", "y", missing=("NA",), date_formats=formats)
    dataset = read_dataset(source, seed=1)
    assert dataset.schema.features[2].date_format == "dmy"
    assert set(dataset.rows.train_features[:, 3].nan_to_num(-1).tolist()) == {0.0, 2.0, -1.0}


def test_folded_categories_are_counted_folded(save: Save) -> None:
    """The limit is for categories, not for their spellings; so is the frequency."""
    texts = [("t{}", "T{}", " t{}", "T{} ")[at % 4].format(at // 4 % 100) for at in range(800)]
    path = save("t.csv", {"c": texts, "y": ["a", "b"] * 400})
    with pytest.raises(SchemaError, match="more than 256 distinct texts"):
        read_dataset(TableSource(path, "y"), seed=1)
    folded = read_dataset(TableSource(path, "y", fold_categories=True), seed=1)
    assert len(folded.schema.features[0].categories) == 100
    source = TableSource(path, "y", fold_categories=True, max_categories=99)
    with pytest.raises(SchemaError, match="more than 99 distinct texts"):
        read_dataset(source, seed=1)


def test_spellings_of_a_category_are_kept_or_joined_together(save: Save) -> None:
    """One alone would make bad cells of the others, which training had."""
    texts = ["NA"] * 9 + ["na"] * 2 + ["x"] * 8 + ["y"] * 3 + ["z", "Z"]
    path = save("t.csv", {"c": texts, "y": ["a", "b"] * 12})
    source = TableSource(path, "y", rare="other", max_categories=4)
    assert read_dataset(source, seed=1).schema.features[0].categories == ("NA", "na", "x")
    source = TableSource(path, "y", rare="other", max_categories=3)
    one_hot = read_dataset(source, seed=1).schema.features[0].one_hot
    assert one_hot == OneHot(("NA", "na"), "other", 4)
    source = TableSource(path, "y", rare="other", max_categories=3, fold_categories=True)
    one_hot = read_dataset(source, seed=1).schema.features[0].one_hot
    assert one_hot == OneHot(("na", "x"), "other", 2, folded=True)


def test_a_kept_true_is_no_boolean_where_others_are_joined() -> None:
    """``1`` was another category, and is scored as such."""
    kept = Feature("c", 0, 1, one_hot=OneHot(("true",), "other", 3))
    assert not kept.is_boolean
    encoded = Encoder([kept]).encode([binary_array([b"true", b"1", b"yes"])])
    assert encoded.matrix[:, 0].tolist() == [1, 0, 0]
    assert encoded.usable.all()


def test_words_for_missing_are_named_among_folded_categories(save: Save) -> None:
    """In the spellings that --missing takes, but for those that it has."""
    path = save("t.csv", {"c": ["NULL", "x", "null", "y"] * 5, "y": ["a", "b"] * 10})
    check = read_dataset(TableSource(path, "y", fold_categories=True), seed=1).check
    assert check is not None
    assert check.columns[0].words == ("NULL", "Null", "null")
    source = TableSource(path, "y", fold_categories=True, missing=check.columns[0].words)
    dataset = read_dataset(source, seed=1)
    assert dataset.schema.features[0].categories == ("", "x", "y")


def test_one_label_for_missing_is_named_as_such(save: Save) -> None:
    """Not as a class of a single row."""
    path = save("t.csv", {"x": list(range(9)), "y": ["a", "b"] * 4 + ["NA"]})
    with pytest.raises(SchemaError, match=r"label 'y' is 'NA' in 1 row: .* give --missing NA"):
        read_dataset(TableSource(path, "y"), seed=1)
