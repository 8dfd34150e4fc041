"""Keys that only later records of JSON Lines have, or none: columns and missing values."""

from __future__ import annotations

import gzip
import json
import os
import threading
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from runtime.errors import BadRowsError, DataError, SchemaError
from runtime.predictor import Predictor
from runtime.scoring.options import Options
from runtime.scoring.pipeline import score_bytes, score_file
from runtime.tables.formats import Format
from runtime.tables.jsonl.reader import BLOCK_SIZE
from runtime.tables.options import ReadOptions

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PAD = "x" * (BLOCK_SIZE - 64)  # the next record is in another block
FIRST = {"size": "S", "price": 1.5, "note": PAD}
LATER = {"colour": "red", "price": 2.5, "rating": 3, "late": [1], "size": "M"}


@pytest.fixture(scope="module")
def sales(sales_bundle: Path) -> Predictor:
    """Price and size must be present; colour and rating may be missing."""
    return Predictor(sales_bundle, provider="cpu")


def to_lines(*records: dict[str, Any]) -> bytes:
    return b"".join(json.dumps(record).encode() + b"\n" for record in records)


def expected(sales: Predictor, *records: dict[str, Any]) -> list[tuple[str, float]]:
    names = sales.schema.feature_names
    columns: dict[str, Any] = {name: [record.get(name) for record in records] for name in names}
    columns["rating"] = [float("nan") if x is None else x for x in columns["rating"]]
    predicted = sales.predict(columns)
    return list(zip(predicted.label.tolist(), predicted.probability.tolist(), strict=True))


def answers(records: list[dict[str, Any]]) -> list[tuple[str, float]]:
    return [(each["label"], float(np.float32(each["probability"]))) for each in records]


@contextmanager
def pipe(path: Path, data: bytes) -> Iterator[Path]:
    """A named pipe from which the data can be read once."""

    def write() -> None:
        with suppress(BrokenPipeError):
            path.write_bytes(data)

    os.mkfifo(path)
    writer = threading.Thread(target=write)
    writer.start()
    yield path
    writer.join()


def read(path: Path) -> list[dict[str, Any]]:
    if path.suffix == ".parquet":
        return pq.read_table(path).to_pylist()  # type: ignore[no-any-return]  # untyped
    return [json.loads(line) for line in path.read_bytes().splitlines()]


@pytest.mark.parametrize("ending", ["jsonl", "jsonl.gz"])
def test_a_late_key_is_a_column(sales: Predictor, tmp_path: Path, ending: str) -> None:
    """It is read, carried in the order of first appearance, and missing before."""
    source, lines = tmp_path / f"in.{ending}", to_lines(FIRST, LATER)
    source.write_bytes(gzip.compress(lines) if ending.endswith("gz") else lines)
    for out in (tmp_path / "out.parquet", tmp_path / "out.jsonl"):
        assert score_file(sales, source, out).absent == ()
        assert answers(read(out)) == expected(sales, FIRST, LATER)
    for before, after in zip((FIRST, LATER), read(tmp_path / "out.jsonl"), strict=True):
        assert list(after) == [*before, "label", "probability"]
    score_file(sales, source, tmp_path / "out.csv")
    header, first, second = (tmp_path / "out.csv").read_text().splitlines()
    assert header == "size,price,note,colour,rating,late,label,probability"
    assert first.startswith(f"S,1.5,{PAD},,,,")
    assert second.startswith("M,2.5,,red,3,[1],")


def test_a_late_key_can_be_selected(sales: Predictor, tmp_path: Path) -> None:
    """``--columns`` and ``--truth`` find it, and a selection carries nothing else."""
    source, out = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    source.write_bytes(to_lines(FIRST, LATER | {"true": "x"}))
    done = score_file(sales, source, out, Options(columns=("late", "size"), truth="true"))
    assert done.truth
    assert [list(record)[:3] for record in read(out)] == [["late", "size", "label"]] * 2
    score_file(sales, source, out, Options(columns=("price", "note", "size")))
    assert [list(record)[:4] for record in read(out)] == [["price", "note", "size", "label"]] * 2


def test_a_pipe_loses_no_late_key(sales: Predictor, tmp_path: Path) -> None:
    """JSON Lines carries it; another format has no column for it, and is not written."""
    reading, data = ReadOptions(format=Format("jsonl")), to_lines(FIRST, LATER)
    with pipe(tmp_path / "a", data) as source:
        score_file(sales, source, tmp_path / "out.jsonl", Options(reading=reading))
    assert read(tmp_path / "out.jsonl")[1]["late"] == [1]
    assert read(tmp_path / "out.jsonl")[1]["label"] == expected(sales, LATER)[0][0]
    out = tmp_path / "out.csv"
    with (
        pipe(tmp_path / "b", data) as source,
        pytest.raises(DataError, match=r"record 2 \(line 2\) has a key 'colour' .* give the table"),
    ):
        score_file(sales, source, out, Options(reading=reading))
    with (
        pipe(tmp_path / "c", data) as source,
        pytest.raises(SchemaError, match=r"no column 'late'; .*\n.*only its first 1 records"),
    ):
        score_file(sales, source, out, Options(reading=reading, columns=("late",)))
    assert not out.exists()
    with pipe(tmp_path / "d", data) as source:
        names = ("size", "price", "note")
        score_file(sales, source, out, Options(reading=reading, columns=names))
    assert out.read_bytes().startswith(b"size,price,note,label,probability\n")


def test_a_key_that_no_record_has_is_a_missing_value(sales: Predictor, tmp_path: Path) -> None:
    """It is scored where training had missing values, and named; the output has no such column."""
    source, out = tmp_path / "in.jsonl", tmp_path / "out.parquet"
    source.write_bytes(to_lines(FIRST, FIRST))
    done = score_file(sales, source, out)
    assert (done.scored, done.absent) == (2, ("colour", "rating"))
    assert list(read(out)[0]) == ["size", "price", "note", "label", "probability"]
    assert answers(read(out)) == expected(sales, FIRST, FIRST)
    source.write_bytes(to_lines(FIRST, FIRST | {"rating": None}))
    assert score_file(sales, source, out).absent == ("colour",)


@pytest.mark.parametrize(
    ("records", "hint"),
    [
        pytest.param([{"price": 1, "sise": "S"}], "'size'; did you mean 'sise'", id="misspelt"),
        pytest.param([{"price": 1}], "'rating', 'size'; they have 'price'\n", id="absent"),
        pytest.param([{}], "the keys 'price', 'colour', 'rating', 'size'\n", id="no keys"),
    ],
)
def test_a_required_key_that_no_record_has_is_a_bad_row(
    sales: Predictor, records: list[dict[str, Any]], hint: str
) -> None:
    """Where training had no missing value; the message names the key once for all rows."""
    lines, stored = to_lines(*records), Format("jsonl")
    with pytest.raises(BadRowsError) as caught:
        score_bytes(sales, lines, stored, Options(), where="t")
    assert hint in str(caught.value)
    scored = score_bytes(sales, lines, stored, Options(bad_rows="null"), where="t")
    reason = json.loads(scored.content)["reason"]
    assert reason == f"{'size' if 'price' in records[0] else 'price'}: missing value"


def test_a_key_in_another_case_is_not_missing(sales: Predictor) -> None:
    """It is an error as in a header, and read with the option that the message names."""
    lines = to_lines({"price": 1, "size": "S", "Rating": 2})
    with pytest.raises(SchemaError, match=r"'rating' is missing; .*'Rating'.*loose_header=True"):
        score_bytes(sales, lines, Format("jsonl"), Options(), where="t")
    loose = Options(reading=ReadOptions(loose_header=True))
    scored = json.loads(score_bytes(sales, lines, Format("jsonl"), loose, where="t").content)
    assert answers([scored]) == expected(sales, {"price": 1, "size": "S", "rating": 2})
