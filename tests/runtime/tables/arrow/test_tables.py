"""Typed tables: Parquet and Arrow, read, scored and written."""

from __future__ import annotations

import csv
import io
import json
import os
import random
import tempfile
import threading
import uuid
from decimal import Decimal
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from runtime.errors import BadRowsError, DataError, SchemaError
from runtime.scoring.options import Options
from runtime.scoring.pipeline import score_file
from runtime.tables.arrow import writer as arrow_writer

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from runtime.predictor import Predictor

    Run = Callable[..., subprocess.CompletedProcess[bytes]]

NAN, INF = float("nan"), float("inf")
KINDS = ["parquet", "arrow"]


def save(table: pa.Table, path: Path) -> Path:
    """Write a table in the format that its name says; ``.stream.arrow`` is Arrow's stream."""
    if path.suffix == ".parquet":
        pq.write_table(table, path, write_page_checksum=True)
        return path
    new = pa.ipc.new_stream if ".stream" in path.suffixes else pa.ipc.new_file
    with new(path, table.schema) as writer:
        writer.write_table(table)
    return path


def load(path: Path) -> pa.Table:
    """Read a table whole."""
    return pq.read_table(path) if path.suffix == ".parquet" else pa.ipc.open_file(path).read_all()


def products(rows: int = 3, **columns: pa.Array | Sequence[object]) -> pa.Table:
    """Rows that can be scored, with columns added or replaced."""
    numbers = {"price": [float(n % 9) for n in range(rows)], "rating": [2.5] * rows}
    return pa.table({**numbers, **columns})


def texts(*values: bytes) -> pa.Array:
    """View bytes as text without validation."""
    bounds = np.cumsum([0, *map(len, values)]).astype(np.int32)
    buffers = [None, pa.py_buffer(bounds), pa.py_buffer(b"".join(values))]
    return pa.Array.from_buffers(pa.string(), len(values), buffers)


NUMBERS = {
    "int8": pa.array([1, 2, 3], pa.int8()),
    "uint8": pa.array([1, 2, 3], pa.uint8()),
    "int16": pa.array([1, 2, 3], pa.int16()),
    "uint16": pa.array([1, 2, 3], pa.uint16()),
    "int32": pa.array([1, 2, 3], pa.int32()),
    "uint32": pa.array([1, 2, 3], pa.uint32()),
    "int64": pa.array([1, 2, 3], pa.int64()),
    "uint64": pa.array([1, 2, 3], pa.uint64()),
    "float16": pa.array(np.array([1, 2, 3], np.float16)),
    "float32": pa.array([1, 2, 3], pa.float32()),
    "float64": pa.array([1, 2, 3], pa.float64()),
    "decimal128": pa.array([Decimal("1.00"), Decimal(2), Decimal(3)], pa.decimal128(10, 2)),
    "decimal256": pa.array([Decimal("1.00"), Decimal(2), Decimal(3)], pa.decimal256(50, 2)),
    "string": pa.array(["1", " 2.0 ", "+3e0"]),
    "large_string": pa.array(["1", " 2.0 ", "+3e0"], pa.large_string()),
    "string_view": pa.array(["1", " 2.0 ", "+3e0"], pa.string_view()),
    "binary": pa.array([b"1", b"2", b"3"]),
    "dictionary of text": pa.array(["1", "2", "3"]).dictionary_encode(),
    "dictionary of numbers": pa.array([1.0, 2.0, 3.0]).dictionary_encode(),
    "dictionary of views": pa.DictionaryArray.from_arrays(
        pa.array([0, 1, 2], pa.uint32()), pa.array(["1", "2", "3"], pa.string_view())
    ),
    "a slice": pa.array([7.0, 1.0, 2.0, 3.0, 7.0]).slice(1, 3),
    "a slice of text": pa.array(["x", "1", "2", "3", "y"]).slice(1, 3),
    "a slice with nulls around": pa.array([None, 1, 2, 3, None]).slice(1, 3),
    "chunks": pa.chunked_array([[1.0], [], [2.0, 3.0]]),
}


@pytest.mark.parametrize("values", NUMBERS.values(), ids=NUMBERS)
def test_any_type_of_number_is_read(predictor: Predictor, tmp_path: Path, values: pa.Array) -> None:
    """Predictions have the same bits for every numeric type."""
    table = products(price=values)
    score_file(predictor, save(table, tmp_path / "in.arrow"), tmp_path / "out.arrow")
    expected = predictor.predict([[1, 2.5], [2, 2.5], [3, 2.5]])
    found = load(tmp_path / "out.arrow")
    assert found["label"].to_pylist() == expected.label.tolist()
    assert found["probability"].to_numpy().tobytes() == expected.probability.tobytes()


def test_large_integers_are_rounded_as_the_predictor_does(
    predictor: Predictor, tmp_path: Path
) -> None:
    """Beyond 2^53 a number is rounded to the nearest, never refused or wrapped."""
    values = [2**53 + 1, 2**63 - 1, -(2**63)]
    source = save(products(price=values), tmp_path / "in.parquet")
    score_file(predictor, source, tmp_path / "out.parquet")
    expected = predictor.predict(np.array([[float(value), 2.5] for value in values]))
    found = load(tmp_path / "out.parquet")
    assert found["price"].to_pylist() == values
    assert found["probability"].to_numpy().tobytes() == expected.probability.tobytes()


BAD = [
    pytest.param([1.0, None, 2.0], "missing value", "", id="null"),
    pytest.param([1.0, NAN, 2.0], "NaN or infinity", "nan", id="NaN"),
    pytest.param([1.0, -INF, 2.0], "NaN or infinity", "-inf", id="infinity"),
    pytest.param([1.0, 1e39, 2.0], "out of float32's range", "1e+39", id="beyond float32"),
    pytest.param(["1", "1,5", "2"], "not a number", "1,5", id="text"),
    pytest.param(["1", "", "2"], "missing value", "", id="empty text"),
    pytest.param([b"1", b"\xff", b"2"], "undecodable bytes", r"\xff", id="bytes"),
    pytest.param(texts(b"1", b"\xff", b"2"), "undecodable bytes", r"\xff", id="damaged text"),
    pytest.param(pa.array(["1", "x", "2"]).dictionary_encode(), "not a number", "x", id="words"),
    pytest.param(
        pa.array(["1", None, "2"], pa.string_view()), "missing value", "", id="null among views"
    ),
]


@pytest.mark.parametrize(("prices", "reason", "value"), BAD)
def test_a_bad_value_is_one_of_its_record(
    predictor: Predictor, tmp_path: Path, prices: list[object] | pa.Array, reason: str, value: str
) -> None:
    """All policies report record, column, value and reason."""
    if isinstance(prices, pa.Array) and pa.types.is_string_view(prices.type):
        prices = prices.cast(pa.string())
    source = save(products(price=prices, id=["a", "b", "c"]), tmp_path / "in.parquet")
    with pytest.raises(BadRowsError, match=f"record 2, column 'price': '.*': {reason}"):
        score_file(predictor, source, tmp_path / "out.parquet")
    assert not (tmp_path / "out.parquet").exists()
    done = score_file(predictor, source, tmp_path / "out.parquet", Options(bad_rows="reject"))
    assert (done.rows, done.scored, done.rejected) == (3, 2, 1)
    assert load(tmp_path / "out.parquet")["id"].to_pylist() == ["a", "c"]
    listed = io.StringIO((tmp_path / "out.parquet.rejects.csv").read_text(errors="replace"))
    (row,) = list(csv.DictReader(listed))
    assert (row["record"], row["line"], row["column"]) == ("2", "", "price")
    assert (row["value"], row["reason"]) == (value, reason)
    assert json.loads(row["text"])["id"] == "b"
    score_file(predictor, source, tmp_path / "out.parquet", Options(bad_rows="null"))
    kept = load(tmp_path / "out.parquet")
    assert kept["label"].to_pylist()[1] is None
    assert kept["probability"].to_pylist()[1] is None
    assert kept["reason"].to_pylist() == [None, f"price: {reason}", None]


def test_records_are_counted_across_row_groups(predictor: Predictor, tmp_path: Path) -> None:
    """Records are numbered across row groups and batches."""
    prices = [1.0] * 200_000
    for at in (0, 65_535, 65_536, 131_072, 199_999):
        prices[at] = NAN
    source = tmp_path / "in.parquet"
    pq.write_table(products(len(prices), price=prices), source, row_group_size=70_000)
    score_file(predictor, source, tmp_path / "out.parquet", Options(bad_rows="reject"))
    with (tmp_path / "out.parquet.rejects.csv").open() as stream:
        found = [row["record"] for row in csv.DictReader(stream)]
    assert found == ["1", "65536", "65537", "131073", "200000"]
    assert load(tmp_path / "out.parquet").num_rows == 199_995


NO_NUMBERS = {
    "timestamp": pa.array([1, 2, 3], pa.timestamp("ns")),
    "date": pa.array([1, 2, 3], pa.date32()),
    "duration": pa.array([1, 2, 3], pa.duration("s")),
    "booleans, as in text": pa.array([True, False, True]),
    "list": pa.array([[1], [2], [3]]),
    "struct": pa.array([{"a": 1}] * 3),
    "dictionary of dates": pa.array([1, 2, 3], pa.date32()).dictionary_encode(),
    "extension": pa.ExtensionArray.from_storage(pa.bool8(), pa.array([1, 0, 1], pa.int8())),
}


@pytest.mark.parametrize("values", NO_NUMBERS.values(), ids=NO_NUMBERS)
def test_a_feature_of_another_type_is_refused(
    predictor: Predictor, tmp_path: Path, values: pa.Array
) -> None:
    """A date is not read as the number that stores it."""
    source = save(products(price=values), tmp_path / "in.arrow")
    with pytest.raises(SchemaError, match=r"column 'price' has type .*, which is not a number"):
        score_file(predictor, source, tmp_path / "out.arrow")
    assert not (tmp_path / "out.arrow").exists()


CARRIED = {
    "text": pa.array(["a,\n\"b'", "", None]),
    "large text": pa.array(["a", "", None], pa.large_string()),
    "views": pa.array(["a", "", None], pa.string_view()),
    "bytes": pa.array([b"\xff\0", b"", None]),
    "bytes of a size": pa.array([b"\xff\0", b"ab", None], pa.binary(2)),
    "truths": pa.array([True, False, None]),
    "nothing": pa.nulls(3),
    "large integers": pa.array([2**63 - 1, -(2**63), None]),
    "unsigned": pa.array([2**64 - 1, 0, None], pa.uint64()),
    "float64": pa.array([NAN, -0.0, 5e-324]),
    "float16": pa.array(np.array([NAN, 1, INF], np.float16)),
    "decimals": pa.array([Decimal("1.50"), None, Decimal("-0.01")], pa.decimal128(38, 2)),
    "nanoseconds": pa.array([1, 1001, None], pa.timestamp("ns")),
    "times of a zone": pa.array([1, 1001, None], pa.timestamp("us", "Europe/Berlin")),
    "times of no zone": pa.array([1, 1001, None], pa.timestamp("us", "Nowhere/X")),
    "dates": pa.array([1, 2**30, None], pa.date32()),
    "durations": pa.array([1, 2, None], pa.duration("ns")),
    "words": pa.array(["x", "y", None]).dictionary_encode(),
    "lists": pa.array([[1, None], [], None], pa.list_(pa.field("element", pa.int64()))),
    "structs": pa.array([{"a": 1, "b": "x"}, {"a": None, "b": ""}, None]),
    "maps": pa.array([[("a", 1)], [], None], pa.map_(pa.string(), pa.int32())),
    "extension": pa.ExtensionArray.from_storage(
        pa.uuid(), pa.array([b"0" * 16, b"\xff" * 16, None], pa.binary(16))
    ),
}


@pytest.mark.parametrize("out", KINDS)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", CARRIED)
def test_carried_columns_keep_type_and_values(
    predictor: Predictor, tmp_path: Path, name: str, kind: str, out: str
) -> None:
    """Other columns are unchanged, with their metadata."""
    note = {"unit": "none"}
    table = products().append_column(
        pa.field("x", CARRIED[name].type, metadata=note), CARRIED[name]
    )
    source = save(table.replace_schema_metadata({"origin": "a test"}), tmp_path / f"in.{kind}")
    before = load(source)
    score_file(predictor, source, tmp_path / f"out.{out}")
    after = load(tmp_path / f"out.{out}")
    assert after.column_names == [*before.column_names, "label", "probability"]
    assert after.schema.metadata == {b"origin": b"a test"}
    assert after.schema.field("x").type == before.schema.field("x").type
    assert (after.schema.field("x").metadata or {})[b"unit"] == b"none"
    values = before["x"], after["x"]
    assert values[0].equals(values[1]) or values[0].to_string() == values[1].to_string()  # NaN


@pytest.mark.parametrize("out", ["csv", "jsonl"])
@pytest.mark.parametrize("name", [*CARRIED, "run ends", "tensor", "interval", "union"])
def test_every_type_has_a_text(predictor: Predictor, tmp_path: Path, name: str, out: str) -> None:
    """Rows with any type of column can be written as text, those kept and those rejected."""
    shape = pa.fixed_shape_tensor(pa.int32(), [2])
    rare = {
        "run ends": pa.RunEndEncodedArray.from_arrays(
            pa.array([2, 3], pa.int32()), pa.array(["a", "b"])
        ),
        "tensor": pa.ExtensionArray.from_storage(
            shape, pa.array([[1, 2], [3, 4], None], shape.storage_type)
        ),
        "interval": pa.array([(1, 2, 3), (0, 0, 1), None], pa.month_day_nano_interval()),
        "union": pa.UnionArray.from_dense(
            pa.array([0, 1, 0], pa.int8()),
            pa.array([0, 0, 1], pa.int32()),
            [pa.array([1, 2]), pa.array(["z"])],
        ),
    }
    column = (CARRIED | rare)[name]
    source = save(products(price=[1.0, None, 2.0], x=column), tmp_path / "in.arrow")
    done = score_file(predictor, source, tmp_path / f"out.{out}", Options(bad_rows="reject"))
    assert (done.scored, done.rejected) == (2, 1)
    text = (tmp_path / f"out.{out}").read_bytes().decode(errors="surrogateescape")
    found = list(csv.reader(io.StringIO(text, newline=""))) if out == "csv" else text.splitlines()
    assert len(found) == (3 if out == "csv" else 2)
    listed = (tmp_path / f"out.{out}.rejects.csv").read_bytes().decode(errors="surrogateescape")
    (row,) = list(csv.DictReader(io.StringIO(listed, newline="")))
    assert json.loads(row["text"])["price"] is None


@pytest.mark.parametrize("kind", [*KINDS, "stream.arrow"])
@pytest.mark.parametrize("rows", [0, 1, 65_536, 65_537])
def test_any_number_of_rows(predictor: Predictor, tmp_path: Path, kind: str, rows: int) -> None:
    """No rows give a table without rows; a batch too many loses none."""
    source = save(products(rows), tmp_path / f"in.{kind}")
    for out in KINDS:
        assert score_file(predictor, source, tmp_path / f"out.{out}").rows == rows
        found = load(tmp_path / f"out.{out}")
        assert found.column_names == ["price", "rating", "label", "probability"]
        assert found.num_rows == rows


@pytest.mark.parametrize("length", range(1, 65))
def test_a_stream_is_known_whatever_its_schema_is_long(
    predictor: Predictor, tmp_path: Path, length: int
) -> None:
    """Its first bytes are the length of its schema, which may be a multiple of 256."""
    table = products(1).replace_schema_metadata({"k": "v" * 8 * length})
    source = save(table, tmp_path / "in.stream.arrow")
    assert score_file(predictor, source, tmp_path / "out.csv").rows == 1


@pytest.mark.parametrize("kind", [*KINDS, "stream.arrow"])
def test_standard_input_may_be_typed(
    run_command: Run, bundle: Path, tmp_path: Path, kind: str
) -> None:
    """A pipe is copied to the disk, its format detected by its first bytes."""
    source = save(products(1000), tmp_path / f"in.{kind}")
    command = ("predict", "--bundle", bundle, "--file")
    done = run_command(*command, "-", stdin=source.read_bytes())
    assert done.returncode == 0, done.stderr
    assert done.stdout == run_command(*command, source, "--out", "-").stdout
    assert done.stdout.count(b"\n") == 1001


def test_a_name_may_be_any_bytes(run_command: Run, bundle: Path, tmp_path: Path) -> None:
    """File names need not be UTF-8."""
    source = save(products(), tmp_path / "in.parquet")
    strange = source.rename(os.fsdecode(bytes(tmp_path) + b"/\xff.parquet"))
    done = run_command("predict", "--bundle", bundle, "--file", strange, "--out", "out.parquet")
    assert done.returncode == 0, done.stderr
    assert load(tmp_path / "out.parquet").num_rows == 3


def test_uuids_are_written_as_they_are_read(predictor: Predictor, tmp_path: Path) -> None:
    """DuckDB stores keys so; in text they are the digits that people know, not 16 bytes."""
    keys = [uuid.UUID("00112233-4455-6677-8899-aabbccddeeff"), None, uuid.UUID(int=2**128 - 1)]
    stored = [key and key.bytes for key in keys]
    column = pa.ExtensionArray.from_storage(pa.uuid(), pa.array(stored, pa.binary(16)))
    source = save(products(key=column), tmp_path / "in.parquet")
    score_file(predictor, source, tmp_path / "out.csv")
    score_file(predictor, source, tmp_path / "out.jsonl")
    rows = list(csv.DictReader((tmp_path / "out.csv").read_text().splitlines()))
    assert [row["key"] for row in rows] == [str(key or "") for key in keys]
    lines = (tmp_path / "out.jsonl").read_text().splitlines()
    assert [json.loads(line)["key"] for line in lines] == [key and str(key) for key in keys]


def test_nowhere_to_put_a_stream_aside_is_said(
    predictor: Predictor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a temporary folder the message names the remedy."""
    data = save(products(), tmp_path / "in.parquet").read_bytes()
    os.mkfifo(tmp_path / "pipe")
    feeding = threading.Thread(target=(tmp_path / "pipe").write_bytes, args=(data,))
    feeding.start()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "gone"))
    with pytest.raises(DataError, match=r"cannot create a temporary file .*TMPDIR"):
        score_file(predictor, tmp_path / "pipe", tmp_path / "out.csv")
    feeding.join(timeout=60)


def test_no_room_to_put_a_stream_aside_is_said(
    predictor: Predictor,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    full_device: Path,
) -> None:
    """A disk that is full while Parquet comes through a pipe is one message."""
    data = save(products(1000), tmp_path / "in.parquet").read_bytes()
    os.mkfifo(tmp_path / "pipe")
    feeding = threading.Thread(target=(tmp_path / "pipe").write_bytes, args=(data,))
    feeding.start()
    monkeypatch.setattr(tempfile, "TemporaryFile", lambda **_: full_device.open("r+b", buffering=0))
    with pytest.raises(DataError, match=r"cannot write a temporary file .*No space left"):
        score_file(predictor, tmp_path / "pipe", tmp_path / "out.csv")
    feeding.join(timeout=60)


def test_names_may_be_any(predictor: Predictor, tmp_path: Path) -> None:
    """A dot is no path into a struct, and blanks and nothing at all are names too."""
    table = products(1, **{"a.b": [7], "a": [{"b": 1, "c": 2}], " x ": [3], "": [4]})
    source = save(table, tmp_path / "in.parquet")
    score_file(predictor, source, tmp_path / "all.jsonl")
    found = json.loads((tmp_path / "all.jsonl").read_bytes())
    assert [found[name] for name in ("a.b", "a", " x ", "")] == [7, {"b": 1, "c": 2}, 3, 4]
    chosen = Options(columns=("a.b", "", " x "))
    score_file(predictor, source, tmp_path / "some.jsonl", chosen)
    found = json.loads((tmp_path / "some.jsonl").read_bytes())
    assert list(found) == ["a.b", "", " x ", "label", "probability"]
    assert found["a.b"] == 7


@pytest.mark.parametrize("kind", KINDS)
def test_two_columns_of_one_name_are_refused(
    predictor: Predictor, tmp_path: Path, kind: str
) -> None:
    """Repeated column names are refused."""
    table = pa.table([[1.0], [2.0], [3], [4]], names=["price", "rating", "x", "x"])
    with pytest.raises(DataError, match=r"repeated column names, such as 'x'"):
        score_file(predictor, save(table, tmp_path / f"in.{kind}"), tmp_path / "out.csv")


def test_columns_are_stored_as_they_were(predictor: Predictor, tmp_path: Path) -> None:
    """Columns keep the codec and dictionary of the source, nested ones too."""
    rows = 2000
    table = products(rows, n=[{"x": n} for n in range(rows)], t=["a", "b"] * (rows // 2))
    codecs = {"price": "zstd", "rating": "none", "n.x": "gzip", "t": "brotli"}
    source = tmp_path / "in.parquet"
    pq.write_table(table, source, compression=codecs, use_dictionary=["rating", "t"])
    score_file(predictor, source, tmp_path / "out.parquet")
    group = pq.ParquetFile(tmp_path / "out.parquet").metadata.row_group(0)
    found = {group.column(at).path_in_schema: group.column(at) for at in range(group.num_columns)}
    said = {name: found[name].compression.lower() for name in codecs}
    assert said == {**codecs, "rating": "uncompressed"}
    assert {name for name in codecs if found[name].has_dictionary_page} == {"rating", "t"}
    assert found["label"].has_dictionary_page
    assert found["probability"].compression == "UNCOMPRESSED"


@pytest.mark.parametrize("out", KINDS)
def test_each_batch_may_have_its_own_words(
    predictor: Predictor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, out: str
) -> None:
    """A stream's dictionaries change from batch to batch, which a file's cannot: they grow."""
    monkeypatch.setattr(arrow_writer, "ROW_GROUP_ROWS", 6)
    batches = [
        products(price=[1.0, 2.0, 3.0], w=pa.array([f"{n}", "y", None]).dictionary_encode())
        for n in range(5)
    ]
    with pa.ipc.new_stream(tmp_path / "in.arrow", batches[0].schema) as writer:
        for batch in batches:
            writer.write_table(batch)
    score_file(predictor, tmp_path / "in.arrow", tmp_path / f"out.{out}")
    found = load(tmp_path / f"out.{out}")
    assert found["w"].to_pylist() == [word for n in range(5) for word in (f"{n}", "y", None)]
    assert pa.types.is_dictionary(found.schema.field("w").type)


@pytest.mark.parametrize("out", KINDS)
def test_words_that_are_views_become_text(predictor: Predictor, tmp_path: Path, out: str) -> None:
    """Polars writes categories so; no other format can hold them."""
    words = pa.DictionaryArray.from_arrays(
        pa.array([0, 1, 0], pa.uint32()), pa.array(["a", "b"], pa.string_view())
    )
    source = save(products(price=[1.0, None, 2.0], w=words), tmp_path / "in.arrow")
    score_file(predictor, source, tmp_path / f"out.{out}", Options(bad_rows="null"))
    assert load(tmp_path / f"out.{out}")["w"].to_pylist() == ["a", "b", "a"]


@pytest.mark.parametrize(
    "values",
    [
        pa.array([(1, 2, 3)] * 3, pa.month_day_nano_interval()),
        pa.array([2**62, 0, 0], pa.timestamp("s")),
        pa.array([Decimal(100), Decimal(200), None], pa.decimal128(5, -2)),
    ],
    ids=["a type", "a value", "a scale"],
)
def test_what_parquet_does_not_have_is_said(
    predictor: Predictor, tmp_path: Path, values: pa.Array
) -> None:
    """Unsupported types are reported with the output and the remedy; nothing is written."""
    source = save(products(x=values), tmp_path / "in.arrow")
    with pytest.raises(DataError, match=r"cannot write .*out\.parquet: .* with columns, "):
        score_file(predictor, source, tmp_path / "out.parquet")
    assert [path.name for path in tmp_path.iterdir()] == ["in.arrow"]


def test_undecodable_text_has_no_place_in_typed_columns(
    predictor: Predictor, tmp_path: Path
) -> None:
    """Undecodable bytes of a CSV are refused."""
    (tmp_path / "in.csv").write_bytes(b"price,rating,name\n1,2,caf\xe9\n")
    with pytest.raises(DataError, match=r"column 'name' has bytes that are not UTF-8 text"):
        score_file(predictor, tmp_path / "in.csv", tmp_path / "out.parquet")
    assert not (tmp_path / "out.parquet").exists()


def test_a_flipped_bit_in_a_page_is_found(predictor: Predictor, tmp_path: Path) -> None:
    """A Parquet page with a checksum is not read when it does not hold."""
    source = tmp_path / "in.parquet"
    settings = {"compression": "none", "use_dictionary": False, "write_page_checksum": True}
    pq.write_table(products(5000), source, **settings)
    column = pq.ParquetFile(source).metadata.row_group(0).column(0)
    data = bytearray(source.read_bytes())
    data[column.data_page_offset + column.total_compressed_size // 2] ^= 1
    source.write_bytes(data)
    with pytest.raises(DataError, match=r"is damaged after record 0: .*CRC"):
        score_file(predictor, source, tmp_path / "out.csv")
    assert not (tmp_path / "out.csv").exists()


@pytest.mark.parametrize("kind", KINDS)
def test_a_damaged_file_is_an_error_or_still_a_table(
    predictor: Predictor, tmp_path: Path, kind: str
) -> None:
    """Any flipped bit or truncation is a ``DataError``, never a crash."""
    table = products(300, w=pa.array(["a", "b", "c"] * 100).dictionary_encode(), t=["text"] * 300)
    good = save(table, tmp_path / f"in.{kind}").read_bytes()
    chance, outcomes = random.Random(1), set()  # noqa: S311 - the same damage every time
    for _ in range(150):
        data = bytearray(good)
        data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
        if chance.random() < 0.2:
            del data[chance.randrange(len(data)) :]
        (tmp_path / f"in.{kind}").write_bytes(data)
        try:
            score_file(predictor, tmp_path / f"in.{kind}", tmp_path / "out.csv")
        except DataError:
            outcomes.add("refused")
        else:
            outcomes.add("scored")
    assert "refused" in outcomes


@pytest.mark.parametrize("kind", KINDS)
def test_a_file_that_was_cut_off_is_refused(
    predictor: Predictor, tmp_path: Path, kind: str
) -> None:
    """A file without footer is refused."""
    source = save(products(1000), tmp_path / f"in.{kind}")
    source.write_bytes(source.read_bytes()[:-100])
    with pytest.raises(DataError):
        score_file(predictor, source, tmp_path / "out.csv")


def test_a_failure_says_nothing_more(run_command: Run, bundle: Path, tmp_path: Path) -> None:
    """A refused table has one message, none of the aborted writer."""
    save(products(price=[1.0, NAN, 2.0]), tmp_path / "in.parquet")
    done = run_command("predict", "--bundle", bundle, "--file", "in.parquet", "--out", "o.parquet")
    assert done.returncode == 3
    assert b"Exception ignored" not in done.stderr
    assert done.stderr.count(b"\n") == 3
    assert [path.name for path in tmp_path.iterdir()] == ["in.parquet"]
