"""All formats can be read and written, with the same predictions, bit for bit."""

from __future__ import annotations

import bz2
import codecs
import csv
import gzip
import io
import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from runtime.errors import DataError, SchemaError
from runtime.io.charsets import parse_encoding
from runtime.scoring.options import Options
from runtime.scoring.pipeline import score_file
from runtime.tables.dialect import parse_delimiter
from runtime.tables.formats import parse_format
from runtime.tables.options import ReadOptions

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from runtime.predictor import Predictor

    Run = Callable[..., subprocess.CompletedProcess[bytes]]
    Records = Sequence[Mapping[str, str]]

NAMES = ["plain", 'a "b", c', "caf\xe9;\ttab", "two\nlines", "", "0012", " x ", "NaN", "\u2019"]
NUMBERS = ["1", "2.5", "1e-3", "0.1", "7.25", "3", "9.999999", "1E1", "0.30000000000000004"]
TABLE = [
    {"name": name, "price": price, "rating": rating, "id": str(number)}
    for number, (name, price, rating) in enumerate(
        zip(NAMES, NUMBERS, reversed(NUMBERS), strict=True)
    )
]


def as_delimited(records: Records, delimiter: str = ",") -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, list(records[0]), delimiter=delimiter, lineterminator="\n")
    writer.writeheader()
    writer.writerows(records)
    return text.getvalue()


def as_arrow(records: Records) -> pa.Table:
    return pa.table({name: [record[name] for record in records] for name in records[0]})


def as_file(records: Records, kind: str) -> bytes:
    """Write records of text in a format, optionally with ``/encoding``."""
    kind, _, encoding = kind.partition("/")
    stored = parse_format(kind)
    if stored.kind in {"parquet", "arrow"}:
        sink = io.BytesIO()
        table = as_arrow(records)
        if stored.kind == "parquet":
            pq.write_table(table, sink)
        else:
            with pa.ipc.new_file(sink, table.schema) as writer:
                writer.write_table(table)
        return sink.getvalue()
    if stored.kind == "jsonl":
        text = "".join(json.dumps(record) + "\n" for record in records)
    else:
        text = as_delimited(records, "\t" if stored.kind == "tsv" else ",")
    data = text.encode(encoding or "utf-8")
    if stored.compression == "gzip":
        return gzip.compress(data)
    if stored.compression == "bzip2":
        return bz2.compress(data)
    if stored.compression == "zstd":
        return bytes(pa.Codec("zstd").compress(data, asbytes=True))
    return data


def read_back(path: Path, encoding: str = "utf-8") -> list[dict[str, Any]]:
    """Read a scored table with others' readers; cells of text formats as text."""
    if path.suffix == ".parquet":
        return pq.read_table(path).to_pylist()  # type: ignore[no-any-return]  # untyped
    if path.suffix == ".arrow":
        return pa.ipc.open_file(path).read_all().to_pylist()  # type: ignore[no-any-return]  # untyped
    text = read_bytes(path).decode(encoding)
    if ".jsonl" in path.suffixes:
        return [json.loads(line) for line in text.splitlines()]
    delimiter = "\t" if ".tsv" in path.suffixes else ","
    return list(csv.DictReader(io.StringIO(text, newline=""), delimiter=delimiter))


def read_bytes(path: Path) -> bytes:
    """What a file holds, decompressed."""
    data = path.read_bytes()
    if path.suffix == ".gz":
        return gzip.decompress(data)
    if path.suffix == ".bz2":
        return bz2.decompress(data)
    if path.suffix == ".zst":
        return bytes(pa.input_stream(pa.BufferReader(data), compression="zstd").read())
    return data


def bits(records: Sequence[Mapping[str, Any]], name: str = "probability") -> bytes:
    """The float32 numbers of a column, whatever they are written as."""
    return np.array([float(record[name]) for record in records], dtype=np.float32).tobytes()


IN = ["csv", "tsv", "jsonl", "parquet", "arrow", "csv.gz", "csv.zst", "csv.bz2", "jsonl.gz",
      "csv/utf-16", "csv/utf-8-sig", "csv/cp1252", "jsonl/utf-16"]  # fmt: skip
OUT = ["csv", "tsv", "jsonl", "parquet", "arrow", "csv.gz", "tsv.bz2", "jsonl.zst"]


@pytest.mark.parametrize("out", OUT)
@pytest.mark.parametrize("kind", IN)
def test_the_same_text_has_the_same_answers(
    predictor: Predictor, tmp_path: Path, kind: str, out: str
) -> None:
    """All pairs of formats carry the same text and predictions, to the bit."""
    expected = predictor.predict([[float(r["price"]), float(r["rating"])] for r in TABLE])
    kind_alone, _, encoding = kind.partition("/")
    source = tmp_path / f"in.{kind_alone}"
    source.write_bytes(as_file(TABLE, kind))
    legacy = encoding == "cp1252"
    reading = ReadOptions(encoding=parse_encoding(encoding) if legacy else None)
    target = tmp_path / f"out.{out}"
    done = score_file(predictor, source, target, Options(reading=reading, proba=True))
    assert done.rows == done.scored == len(TABLE)
    keeps = kind_alone.startswith("csv") and out.partition(".")[0] in {"csv", "tsv"}
    written = encoding if keeps and encoding else "utf-8"
    if written == "utf-16":
        assert read_bytes(target)[:2] in {codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE}
    if written == "utf-8-sig" and out.startswith("tsv"):
        written = "utf-8"  # a record that is written anew has no need of a mark
    found = read_back(target, written)
    assert [record["label"] for record in found] == expected.label.tolist()
    assert bits(found) == expected.probability.tobytes()
    for at, name in enumerate(("probability_no", "probability_yes")):
        assert bits(found, name) == np.ascontiguousarray(expected.probabilities[:, at]).tobytes()
    carried = [{name: record[name] for name in TABLE[0]} for record in found]
    assert carried == TABLE


@pytest.mark.parametrize("out", ["csv", "tsv", "jsonl", "parquet", "arrow"])
@pytest.mark.parametrize("kind", ["csv", "tsv", "jsonl", "parquet", "arrow"])
@pytest.mark.parametrize(
    "columns", [(), ("id",), ("name", "id"), ("rating", "name", "price")], ids=repr
)
def test_chosen_columns_are_carried_in_the_order_asked_for(
    predictor: Predictor, tmp_path: Path, kind: str, out: str, columns: tuple[str, ...]
) -> None:
    """``--columns`` chooses and orders, in every format, rejected rows left out too."""
    records = [*TABLE, {**TABLE[0], "price": "x"}, TABLE[1]]
    source, target = tmp_path / f"in.{kind}", tmp_path / f"out.{out}"
    source.write_bytes(as_file(records, kind))
    score_file(predictor, source, target, Options(columns=columns, bad_rows="reject"))
    found = read_back(target)
    kept = [*TABLE, TABLE[1]]
    assert len(found) == len(kept)
    assert [list(record) for record in found] == [[*columns, "label", "probability"]] * len(kept)
    for name in columns:
        assert [record[name] for record in found] == [record[name] for record in kept]


@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet", "arrow"])
@pytest.mark.parametrize(
    ("columns", "said"),
    [(("id", "nope"), "no column 'nope'"), (("id", "id"), "'id' more than once")],
)
def test_columns_that_cannot_be_chosen_are_said(
    predictor: Predictor, tmp_path: Path, kind: str, columns: tuple[str, ...], said: str
) -> None:
    """A name with a slip in it, and one that would stand there twice."""
    source = tmp_path / f"in.{kind}"
    source.write_bytes(as_file(TABLE, kind))
    with pytest.raises(SchemaError, match=said):
        score_file(predictor, source, tmp_path / "out.csv", Options(columns=columns))


@pytest.mark.parametrize("out", ["csv", "jsonl", "parquet", "arrow"])
@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet", "arrow"])
def test_bad_rows_stay_in_place_in_every_format(
    predictor: Predictor, tmp_path: Path, kind: str, out: str
) -> None:
    """Absent predictions are null, with the same reason in every format."""
    records = [TABLE[0], {**TABLE[1], "price": "x"}, {**TABLE[2], "rating": ""}, TABLE[3]]
    source, target = tmp_path / f"in.{kind}", tmp_path / f"out.{out}"
    source.write_bytes(as_file(records, kind))
    done = score_file(predictor, source, target, Options(bad_rows="null"))
    assert (done.rows, done.rejected) == (4, 2)
    assert done.reasons == {"not a number": 1, "missing value": 1}
    found = read_back(target)
    nothing = "" if out == "csv" else None
    assert [record["reason"] for record in found] == [
        nothing,
        "price: not a number",
        "rating: missing value",
        nothing,
    ]
    for record in found[1:3]:
        assert record["label"] == record["probability"] == nothing
    assert [record["name"] for record in found] == [record["name"] for record in records]


@pytest.mark.parametrize("out", ["csv", "tsv", "jsonl", "parquet", "arrow"])
@pytest.mark.parametrize("kind", ["csv", "tsv", "jsonl", "parquet", "arrow"])
def test_decimal_commas_are_read_wherever_numbers_are_text(
    predictor: Predictor, tmp_path: Path, kind: str, out: str
) -> None:
    """``--decimal ,`` changes how numbers are read, and how they are written as text."""
    records = [{**r, "price": r["price"].replace(".", ",")} for r in TABLE]
    records = [{**r, "rating": r["rating"].replace(".", ",")} for r in records]
    source, target = tmp_path / f"in.{kind}", tmp_path / f"out.{out}"
    source.write_bytes(as_file(records, kind))
    score_file(predictor, source, target, Options(reading=ReadOptions(decimal=",")))
    expected = predictor.predict([[float(r["price"]), float(r["rating"])] for r in TABLE])
    found = [
        {**record, "probability": str(record["probability"]).replace(",", ".")}
        for record in read_back(target)
    ]
    assert bits(found) == expected.probability.tobytes()
    assert [record["price"] for record in found] == [record["price"] for record in records]


@pytest.mark.parametrize("sign", [";", "|", "tab", ":", "~"])
def test_any_sign_may_stand_between_fields(predictor: Predictor, tmp_path: Path, sign: str) -> None:
    """The delimiter is detected or given; the output has the same, or its format's."""
    delimiter = "\t" if sign == "tab" else sign
    source = tmp_path / "in.csv"
    source.write_text(as_delimited(TABLE, delimiter))
    given = ReadOptions(delimiter=parse_delimiter(sign))
    score_file(predictor, source, tmp_path / "given.csv", Options(reading=given))
    text = (tmp_path / "given.csv").read_text()
    found = list(csv.DictReader(io.StringIO(text, newline=""), delimiter=delimiter))
    score_file(predictor, source, tmp_path / "out.jsonl", Options(reading=given))
    assert bits(found) == bits(read_back(tmp_path / "out.jsonl"))
    if sign in {";", "|", "tab"}:
        score_file(predictor, source, tmp_path / "found.csv")
        assert (tmp_path / "found.csv").read_text() == text


@pytest.mark.parametrize("kind", ["csv", "csv.gz", "csv.zst", "csv.bz2", "csv/utf-8-sig"])
@pytest.mark.parametrize("threads", [1, 3])
def test_what_is_around_a_table_changes_no_byte(
    run_command: Run, bundle: Path, tmp_path: Path, kind: str, threads: int
) -> None:
    """Compressed, plain or through a pipe, with one thread or more: the same bytes come out."""
    data = as_file(TABLE * 500, kind)
    (tmp_path / f"in.{kind.partition('/')[0]}").write_bytes(data)
    (tmp_path / "plain.csv").write_bytes(as_file(TABLE * 500, "csv"))
    command = ("predict", "--bundle", bundle, "--threads", threads, "--out-format", "csv", "--file")
    plain = run_command(*command, "plain.csv")
    named = run_command(*command, f"in.{kind.partition('/')[0]}")
    piped = run_command(*command, "-", stdin=data)
    assert (plain.returncode, named.returncode, piped.returncode) == (0, 0, 0), piped.stderr
    assert named.stdout == piped.stdout
    assert named.stdout.removeprefix(b"\xef\xbb\xbf") == plain.stdout


def test_values_of_json_stay_what_they_are(predictor: Predictor, tmp_path: Path) -> None:
    """Where only some keys are carried, numbers are not made texts, nor rounded."""
    values = [b"1.10", b"12345678901234567890123", b'{"b": [1, null]}', b'"1\\u00e9\xff"', b"true"]
    lines = [b'{"price": 1, "rating": 2, "x": %b, "y": 1}\n' % value for value in values]
    lines += [b'{"price": 1, "rating": 2, "y": 1}\n', b'{"price": "x", "x": 1}\n', b"[1]\n"]
    source, out = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    source.write_bytes(b"".join(lines))
    score_file(predictor, source, out, Options(columns=("x",), bad_rows="null"))
    found = [line.split(b', "label"')[0] for line in out.read_bytes().splitlines()]
    assert found == [b'{"x": ' + value for value in (*values, b"null", b"1", b"null")]


@pytest.mark.parametrize("kind", ["parquet", "arrow"])
@pytest.mark.parametrize("text", [b'"\xff"', b'"\\ud83d"'], ids=["bytes", "half a pair"])
def test_text_that_is_none_has_no_place_in_typed_columns(
    predictor: Predictor, tmp_path: Path, kind: str, text: bytes
) -> None:
    """What JSON Lines carries and no reader of Parquet could decode is refused, not written."""
    (tmp_path / "in.jsonl").write_bytes(b'{"price": 1, "rating": 2, "name": %b}\n' % text)
    with pytest.raises(DataError, match="column 'name' has bytes that are not UTF-8 text"):
        score_file(predictor, tmp_path / "in.jsonl", tmp_path / f"out.{kind}")


@pytest.mark.parametrize("kind", ["jsonl", "parquet", "arrow"])
def test_two_columns_of_one_name_are_not_made_one(
    predictor: Predictor, tmp_path: Path, kind: str
) -> None:
    """Repeated names are carried in CSV and refused elsewhere."""
    source, out = tmp_path / "in.csv", tmp_path / f"out.{kind}"
    source.write_bytes(b"x,y,x,price,rating\n1,2,3,4,5\n")
    with pytest.raises(
        SchemaError, match=r"the table has 2 columns 'x', .*, select others with columns"
    ):
        score_file(predictor, source, out)
    assert not out.exists()
    score_file(predictor, source, out, Options(columns=("y", "price")))
    assert list(read_back(out)[0]) == ["y", "price", "label", "probability"]
    score_file(predictor, source, tmp_path / "out.csv")
    assert (tmp_path / "out.csv").read_bytes().startswith(b"x,y,x,price,rating,label")
