from __future__ import annotations

import csv
import dataclasses
import json
from typing import TYPE_CHECKING, Any

import pytest
from msgspec import UNSET

from exporter.source.candidate import candidate_from_run
from runtime.errors import BadRowsError, DataError, SchemaError, UsageError
from runtime.io.charsets import parse_encoding
from runtime.io.sinks import open_sinks
from runtime.tables.options import ReadOptions
from trainer.config import configure
from trainer.data.dataset import Dataset, RejectedRows
from trainer.data.reading import read_dataset
from trainer.data.source import TableSource, choose_rejects_path
from trainer.pipeline import make_run
from trainer.run import load_run

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable
    from pathlib import Path

    Columns = dict[str, list[Any]]
    Save = Callable[[str, Columns], Path]
    Trainer = Callable[..., subprocess.CompletedProcess[str]]

GOOD = b"".join(
    b"%d,%s,%s\n" % (at, b"red" if at % 3 else b"blue", b"no" if at < 10 else b"yes")
    for at in range(20)
)
BAD = {
    b"1e99,red,no\n": ("a", "1e99", "out of float32's range"),
    b"n/a,red,no\n": ("a", "n/a", "not a number"),
    b"7\n": ("", "", "too few fields (1 instead of 3)"),
    b"7,pink,once,no\n": ("", "", "too many fields (4 instead of 3)"),
    b"8,gr\xfcn,no\n": ("colour", "gr\\xfcn", "undecodable bytes"),
    b"8,red,\n": ("y", "", "missing value"),
    b"8,red,j\xe4\n": ("y", "j\\xe4", "undecodable bytes"),
}


def read_rejecting(source: TableSource) -> Dataset:
    """Read a dataset and write its rejects files."""
    with open_sinks() as open_sink:
        return read_dataset(source, seed=1, open_sink=open_sink)


def read_rejects(path: Path) -> list[list[str]]:
    """Read the records of a rejects file after its header."""
    with path.open(encoding="utf-8", errors="backslashreplace", newline="") as stream:
        header, *rows = csv.reader(stream)
    assert header == ["record", "line", "column", "value", "reason", "text"]
    return rows


def test_rejected_rows_are_listed_and_change_nothing_else(tmp_path: Path) -> None:
    """The others give the dataset that they would give alone; the file is that of predict."""
    dirty, clean, rejects = (tmp_path / name for name in ("dirty.csv", "clean.csv", "rejects.csv"))
    clean.write_bytes(b"a,colour,y\n" + GOOD)
    dirty.write_bytes(b"a,colour,y\n" + b"".join(BAD) + GOOD)
    expected = read_dataset(TableSource(clean, "y"), seed=1)
    found = read_rejecting(TableSource(dirty, "y", bad_rows="reject", rejects=rejects))
    assert (found.schema, found.digest()) == (expected.schema, expected.digest())
    assert found.schema.features[1].categories == ("blue", "red")
    rows = read_rejects(rejects)
    assert [tuple(row[2:5]) for row in rows] == list(BAD.values())
    assert [row[0] for row in rows] == list("1234567")
    assert rows[2] == ["3", "4", "", "", "too few fields (1 instead of 3)", "7"]
    assert found.check is not None
    assert found.check.rejected == (
        RejectedRows("undecodable bytes", 2),
        *(
            RejectedRows(reason, 1)
            for reason in (
                *("missing value", "not a number", "out of float32's range"),
                *("too few fields", "too many fields"),
            )
        ),
    )
    assert found.options == {"test_fraction": 0.2, "bad_rows": "reject"}


@pytest.mark.parametrize("ending", ["csv", "tsv", "jsonl", "parquet", "arrow"])
def test_unlabelled_rows_are_rejected_in_every_format(
    save: Save, tmp_path: Path, ending: str
) -> None:
    """The text of a typed record has all of its columns."""
    columns: Columns = {
        "x": [1.5, 2.5, 3.5, 4.5] * 5,
        "note": ["p"] * 20,
        "y": ["a", "b"] * 9 + [None, "a"],
    }
    path, rejects = save(f"t.{ending}", columns), tmp_path / "rejects.csv"
    source = TableSource(path, "y", exclude=("note",), bad_rows="reject", rejects=rejects)
    dataset = read_rejecting(source)
    assert len(dataset.rows.train_labels) + len(dataset.rows.test_labels) == 19
    ((record, _, column, value, reason, text),) = read_rejects(rejects)
    assert (record, column, value, reason) == ("19", "y", "", "missing value")
    assert "3.5" in text
    assert "p" in text


@pytest.mark.parametrize("line", ["[1, 2]", '{"x": 1, "x": 2, "y": "a"}', "{", '{"y": "a"}'])
def test_records_that_are_no_objects_are_rejected(save: Save, tmp_path: Path, line: str) -> None:
    """So are those with a repeated key; one without a key has a missing value."""
    path = save("t.jsonl", {"x": list(range(20)), "y": ["a", "b"] * 10})
    with path.open("a") as stream:
        stream.write(f"{line}\n")
    rejects = tmp_path / "rejects.csv"
    source = TableSource(path, "y", bad_rows="reject", rejects=rejects)
    is_gap = line == '{"y": "a"}'  # of numbers, which may be missing
    dataset = read_rejecting(source)
    assert len(dataset.rows.train_labels) + len(dataset.rows.test_labels) == 20 + is_gap
    assert [row[5] for row in read_rejects(rejects)] == ([] if is_gap else [line])


def test_a_nan_among_numeric_labels_is_no_class(save: Save) -> None:
    """The message advises what leaves these rows out."""
    path = save("t.csv", {"x": list(range(20)), "y": ["1", "0"] * 9 + ["NaN", "nan"]})
    with pytest.raises(SchemaError, match=r"NaN in 2 rows.*--bad-rows reject"):
        read_dataset(TableSource(path, "y"), seed=1)
    dataset = read_dataset(TableSource(path, "y", bad_rows="reject"), seed=1)
    assert dataset.schema.classes == ("0", "1")
    assert dataset.check is not None
    assert dataset.check.rejected == (RejectedRows("NaN or infinity", 2),)


def test_a_test_set_has_a_rejects_file_of_its_own(save: Save, tmp_path: Path) -> None:
    """Its rows are those that scoring would reject, and those of an unknown class."""
    path = save("t.csv", {"c": ["p", "q"] * 4, "y": ["a", "b"] * 4})
    test = save("test.csv", {"c": ["p", "new", "q", "p", "q"], "y": ["a", "b", "z", "a", "b"]})
    source = TableSource(path, "y", test=test, bad_rows="reject", rejects=tmp_path / "left.out.csv")
    dataset = read_rejecting(source)
    assert dataset.rows.test_features.tolist() == [[1, 0], [1, 0], [0, 1]]
    assert read_rejects(tmp_path / "left.out.csv") == []
    assert [row[3:5] for row in read_rejects(tmp_path / "left.out.test.csv")] == [
        ["new", "a category that training did not have"],
        ["z", "not one of the classes"],
    ]
    assert dataset.check is not None
    assert dataset.check.rejected == (
        RejectedRows("a category that training did not have", 0, 1),
        RejectedRows("not one of the classes", 0, 1),
    )


def test_a_table_in_another_encoding_is_no_matter_of_bad_rows(tmp_path: Path) -> None:
    """Most of its rows are bad; the encoding is advised, to a test set that of the data."""
    text = "x,c,y\n" + "".join(f"{at},{'éèz'[at % 3]},{'ab'[at % 2]}\n" for at in range(60))
    path, test = tmp_path / "t.csv", tmp_path / "test.csv"
    test.write_text(text, "cp1252")
    source = TableSource(test, "y", bad_rows="reject")
    with pytest.raises(BadRowsError, match=r"40 of 60 .*\n(.*\n)*give its encoding, such as --enc"):
        read_dataset(source, seed=1)
    reading = ReadOptions(encoding=parse_encoding("cp1252"))
    read_dataset(dataclasses.replace(source, reading=reading), seed=1)
    path.write_text(text, "utf-8")
    with pytest.raises(BadRowsError, match=r"40 of 60 .*\n(.*\n)*save it as UTF-8 text$"):
        read_dataset(TableSource(path, "y", test=test), seed=1)


def test_a_test_set_has_a_row_to_test_on(save: Save) -> None:
    """Without one nothing can be measured."""
    path = save("t.csv", {"x": list(range(40)), "y": ["a", "b"] * 20})
    refused = r"test.csv: there is no labelled row to test on; .*, or --test-fraction 0.2 instead"
    for labels in ([], [None, None]):
        test = save("test.csv", {"x": list(range(len(labels))), "y": labels})
        with pytest.raises(SchemaError, match=refused):
            read_dataset(TableSource(path, "y", test=test, bad_rows="reject"), seed=1)


def test_more_than_half_of_a_table_is_never_left_out(save: Save, tmp_path: Path) -> None:
    """What is left would not be the table; excluding the column at fault works."""
    training = save("train.csv", {"x": [1, 2] * 9, "z": [1, 2] * 9, "y": ["a", "b"] * 9})
    test = save("test.csv", {"x": [1] * 20, "z": [1] * 9 + ["?"] * 11, "y": ["a", "b"] * 10})
    rejects = tmp_path / "rejects.csv"
    source = TableSource(training, "y", test=test, bad_rows="reject", rejects=rejects)
    with pytest.raises(BadRowsError) as refusal:
        read_rejecting(source)
    first, *_, last = str(refusal.value).splitlines()
    assert first.endswith("test.csv: 11 of 20 rows cannot be fitted; nothing was fitted")
    assert last == "fix column 'z', or exclude it with --exclude z"
    assert not rejects.exists()
    read_dataset(TableSource(training, "y", test=test, exclude=("z",)), seed=1)


def test_most_rows_may_be_unlabelled(save: Save) -> None:
    """A table is often labelled in part: its other rows are no sign of a wrong option."""
    path = save("t.csv", {"x": list(range(40)), "y": [None] * 30 + ["a", "b"] * 5})
    with pytest.raises(BadRowsError, match=r"30 of 40 rows .*\n(.*\n)*.*with --bad-rows reject"):
        read_dataset(TableSource(path, "y"), seed=1)
    dataset = read_dataset(TableSource(path, "y", bad_rows="reject"), seed=1)
    assert len(dataset.rows.train_labels) == 8
    empty = save("t.csv", {"x": [1, 2], "y": [None, None]})
    with pytest.raises(SchemaError, match="label 'y' is empty in every row"):
        read_dataset(TableSource(empty, "y", bad_rows="reject"), seed=1)


def test_a_run_and_its_bundle_count_the_rejected_rows(save: Save, tmp_path: Path) -> None:
    """By reason, with the columns that were left out; others do not mention them."""
    path = save("t.csv", {"x": list(range(20)), "z": [""] * 20, "y": ["a", "b"] * 9 + ["", "a"]})
    dataset = read_dataset(TableSource(path, "y", bad_rows="reject"), seed=1)
    make_run(tmp_path / "run", configure(epochs=1), dataset, device="cpu")
    run = load_run(tmp_path / "run")
    assert run.record.configuration["bad_rows"] == "reject"
    provenance = candidate_from_run(run).provenance
    assert provenance.rejected_rows == {"missing value": 1}
    assert provenance.left_out_columns == {"z": "all cells are missing"}
    clean = save("t.csv", {"x": list(range(20)), "y": ["a", "b"] * 10})
    make_run(
        tmp_path / "run",
        configure(epochs=1),
        read_dataset(TableSource(clean, "y"), 1),
        device="cpu",
    )
    provenance = candidate_from_run(load_run(tmp_path / "run")).provenance
    assert provenance.rejected_rows is UNSET
    assert provenance.left_out_columns is UNSET


def test_the_command_writes_the_file_beside_the_run(
    trainer: Trainer, save: Save, tmp_path: Path
) -> None:
    """With a line on stderr and in the JSON; a run that fails leaves no file."""
    save("t.csv", {"x": list(range(40)), "y": ["a", "b"] * 19 + ["", "a"]})
    options = ("--epochs", "1", "--out", "r", "--json", "--bad-rows", "reject")
    command = ("fit", "--data", "t.csv", "--label", "y", *options)
    done = trainer(*command)
    assert done.returncode == 0, done.stderr
    assert "1 bad row left out, listed in r.rejects.csv: 1 missing value" in done.stderr
    shown = json.loads(done.stdout)
    assert shown["rejects"] == "r.rejects.csv"
    assert shown["check"]["rejected"] == [{"reason": "missing value", "rows": 1, "test_rows": 0}]
    assert len(read_rejects(tmp_path / "r.rejects.csv")) == 1
    (tmp_path / "r.rejects.csv").unlink()
    assert trainer(*command, "--learning-rate", "1e30").returncode == 3
    assert not (tmp_path / "r.rejects.csv").exists()


@pytest.mark.parametrize(
    ("rejects", "message"),
    [("-", "names a file"), ("run/rejects.csv", "inside the run directory"), ("t.csv", "input")],
)
def test_a_rejects_file_has_a_place_of_its_own(
    save: Save, tmp_path: Path, rejects: str, message: str
) -> None:
    """Never standard output, the run directory or the table."""
    path = save("t.csv", {"x": [1], "y": ["a"]})
    chosen = tmp_path / rejects if rejects != "-" else type(path)("-")
    with pytest.raises(UsageError, match=message):
        TableSource(
            path,
            "y",
            bad_rows="reject",
            rejects=choose_rejects_path(tmp_path / "run", "reject", chosen),
        )
    with pytest.raises(UsageError, match="--rejects needs --bad-rows reject"):
        choose_rejects_path(tmp_path / "run", "fail", chosen)


@pytest.mark.parametrize(
    ("record", "is_class"), [(b"7,pink,once,no\n", False), (b"7,red,once\n", True)]
)
def test_what_stands_in_for_the_label_of_a_malformed_row_is_no_class(
    tmp_path: Path, record: bytes, *, is_class: bool
) -> None:
    """A row with too many fields is one fault; a class with one row is reported as before."""
    path = tmp_path / "t.csv"
    path.write_bytes(b"a,colour,y\n" + GOOD + record + b"7\n")
    with pytest.raises(DataError) as caught:
        read_dataset(TableSource(path, "y"), seed=1)
    assert ("a single row ('once')" in str(caught.value)) is is_class
    assert "of 22 rows cannot be fitted" in str(caught.value)
