"""``POST /predict``: rows as CSV, JSON and Parquet."""

from __future__ import annotations

import csv
import io
import json
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.parquet as pq
import pytest

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from serving_client import Client, Served

CSV = {"Content-Type": "text/csv"}
JSON = {"Content-Type": "application/json"}
LINES = {"Content-Type": "application/x-ndjson"}
PARQUET = {"Content-Type": "application/vnd.apache.parquet"}
FORM = {"Content-Type": "application/x-www-form-urlencoded"}  # the default of curl -d


@pytest.mark.parametrize("headers", [CSV, FORM, {}], ids=["csv", "curl", "none"])
def test_csv_equals_runtime_predict(
    client: Client, bundle: Path, tmp_path: Path, products: bytes, headers: dict[str, str]
) -> None:
    """The bytes of ``runtime predict``: columns unchanged, then label and probability."""
    from runtime.predictor import Predictor

    (tmp_path / "products.csv").write_bytes(products)
    scored = tmp_path / "scored.csv"
    Predictor(bundle, provider="cpu").score_file(tmp_path / "products.csv", scored)
    answer = client.ask("/predict", products, headers)
    assert answer.status == 200
    assert answer.headers["content-type"] == "text/csv; charset=utf-8"
    assert answer.body == scored.read_bytes()


@pytest.mark.parametrize("headers", [JSON, FORM, {}], ids=["json", "curl", "none"])
def test_json_objects_gain_predictions(client: Client, headers: dict[str, str]) -> None:
    """Each object keeps its members, in any order and with any others, and gains two."""
    rows = [{"rating": 3.0, "id": "a\nb", "price": 7.5}, {"price": "2", "rating": 1.5, "id": None}]
    answer = client.ask("/predict", json.dumps(rows, indent=1).encode(), headers)
    assert answer.status == 200, answer.body
    assert [row["label"] for row in answer.json] == ["yes", "no"]
    assert 0.8 < answer.json[0]["probability"] < 0.81
    assert [{key: row[key] for key in rows[0]} for row in answer.json] == rows


def test_single_object(client: Client) -> None:
    """A single row needs no array."""
    answer = client.ask("/predict", b'{\n"price": 7.5,\r\n"rating": 3}', JSON)
    assert answer.json["label"] == "yes"


def test_json_lines(client: Client) -> None:
    """JSON Lines are answered as JSON Lines."""
    body = b'{"price": 7.5, "rating": 3}\n{"rating": 1, "price": 2}\n'
    answer = client.ask("/predict", body, LINES)
    assert answer.headers["content-type"] == "application/x-ndjson"
    assert [json.loads(line)["label"] for line in answer.body.splitlines()] == ["yes", "no"]
    assert client.ask("/predict", b"", LINES).body == b""


def test_bom_before_json_is_ignored(client: Client) -> None:
    """Some editors write a byte order mark; RFC 8259 lets a parser ignore it."""
    assert client.ask("/predict", b'\xef\xbb\xbf{"price": 7.5, "rating": 3}').json["label"] == "yes"


def test_csv_dialects(client: Client) -> None:
    """A decimal comma, and a delimiter that the header does not reveal."""
    answer = client.ask("/predict?decimal=,", b"price;rating\n7,5;3\n", CSV)
    assert answer.body == b"price;rating;label;probability\n7,5;3;yes;0,8071706\n"
    answer = client.ask("/predict?delimiter=~", b"price~rating\n7.5~3\n", CSV)
    assert answer.body == b"price~rating~label~probability\n7.5~3~yes~0.8071706\n"


@pytest.mark.parametrize(
    ("charset", "encoding", "content_type"),
    [
        ("", "utf-8", "text/csv; charset=utf-8"),
        ("", "utf-16", "text/csv; charset=utf-16"),
        ("", "latin-1", "text/csv"),  # unknown
        ("; charset=ISO-8859-1", "latin-1", "text/csv; charset=iso-8859-1"),
        ('; header=present; charset="cp1252"', "cp1252", "text/csv; charset=cp1252"),
        ("; charset=gbk", "gbk", "text/csv; charset=gbk"),
    ],
)
def test_csv_keeps_its_charset(
    client: Client, charset: str, encoding: str, content_type: str
) -> None:
    """Text is kept verbatim, and the response declares its charset only where known."""
    body = "price,rating,note\n7.5,3,é\n".encode(encoding)
    answer = client.ask("/predict", body, {"Content-Type": f"text/csv{charset}"})
    assert answer.headers["content-type"] == content_type
    expected = "price,rating,note,label,probability\n7.5,3,é,yes,0.8071706\n"
    assert answer.body.decode(encoding) == expected


def test_no_rows(client: Client) -> None:
    """An empty array gives an empty array."""
    assert client.ask("/predict", b"[]", JSON).json == []


def test_proba_and_prefix(client: Client) -> None:
    """The query adds a column a class, and a prefix to each new name."""
    answer = client.ask("/predict?proba=all&prefix=model_", b"price,rating\n7.5,3\n", CSV)
    assert answer.body.split(b"\n")[0] == (
        b"price,rating,model_label,model_probability,model_probability_no,model_probability_yes"
    )
    answer = client.ask("/predict?proba=positive", b'{"price": 7.5, "rating": 3}', JSON)
    assert list(answer.json) == ["price", "rating", "label", "probability", "probability_yes"]


@pytest.mark.parametrize(
    ("body", "headers", "error"),
    [
        (
            b"price,rating\n7.5,3\nabc,1\n8,\n",
            CSV,
            ["line 3", "price", "'abc'", "line 4", "rating"],
        ),
        (b'[{"price": 7.5, "rating": 3}, {"price": null}]', JSON, ["record 2", "price"]),
    ],
    ids=["csv", "json"],
)
def test_bad_rows_fail_the_request(
    client: Client, body: bytes, headers: dict[str, str], error: list[str]
) -> None:
    """Each bad row is reported with its location and reason."""
    answer = client.ask("/predict", body, headers)
    assert answer.status == 400
    for part in error:
        assert part in answer.error


def test_bad_rows_null(client: Client) -> None:
    """With bad_rows=null they stay in place, with empty predictions and the reason."""
    body = b'[{"price": 7.5, "rating": 3}, {"price": "x", "rating": 3}]'
    good, bad = client.ask("/predict?bad_rows=null", body, JSON).json
    assert (good["label"], good["reason"]) == ("yes", None)
    assert (bad["label"], bad["probability"]) == (None, None)
    assert bad["reason"] == "price: not a number"


def test_hints_of_many_bad_rows_are_in_the_header(client: Client) -> None:
    """As JSON in ASCII; absent where there are none."""
    target = "/predict?bad_rows=null"
    answer = client.ask(target, b"price;rating\n" + b"1,5;2\n" * 20, CSV)
    (hint,) = json.loads(answer.headers["x-onnxferry-hints"])
    assert hint == "column 'price' looks like numbers with decimal commas: give ?decimal=,"
    assert "x-onnxferry-hints" not in client.ask(target, b"price;rating\n1,5;2\n", CSV).headers


@pytest.mark.parametrize(
    ("target", "body", "headers", "status", "error"),
    [
        ("/predict", b"", CSV, 400, "empty"),
        ("/predict", b"price\n1\n", CSV, 400, "column 'rating' is missing"),
        ("/predict", b'[{"price": 1}]', JSON, 400, "no record has a key 'rating'; it has 'price'"),
        ("/predict", b"hello", FORM, 400, "one line and no JSON"),
        ("/predict", b"hello", FORM, 400, "send rows as JSON, such as {"),
        ("/predict", b"[1, 2]", JSON, 400, "the body[0]: expected object"),
        ("/predict", b"[{", JSON, 400, "ends within the JSON, after 2 bytes"),
        ("/predict", b'"text"', JSON, 400, "expected array"),
        ("/predict", b"[" * 100_000, JSON, 400, "the body"),
        ("/predict?colour=1", b"", CSV, 400, "the query has"),
        ("/predict?bad_rows=reject", b"", CSV, 400, "the query"),
        (
            "/predict?proba=x",
            b"price,rating\n1,1\n",
            CSV,
            400,
            "?proba=x: there is no such",
        ),
        ("/predict?" + "&".join("a=1" for _ in range(99)), b"", CSV, 400, "the query"),
        ("/predict?model=other", b"", CSV, 404, "no model 'other'"),
        ("/predict", b"price,rating\n" + b"1,1\n" * 600_000, CSV, 413, "rows allowed"),
        ("/predict", b"[" + b"{}," * 3_000_000 + b"{}]", JSON, 413, "rows allowed"),
        ("/predict", b"{}\n" * 600_000, LINES, 413, "rows allowed"),
        ("/predict", b'{"price":1,"rating":1,"a":"\xff"}', JSON, 400, "JSON is UTF-8, and byte 27"),
        ("/predict", b'{"price":1,"rating":1}', CSV, 400, "Content-Type: application/json"),
        ("/predict", b'{"price":1}\n{"price":2}\n', CSV, 400, "application/x-ndjson"),
        ("/predict", b"price,rating,label\n1,1,1\n", CSV, 400, "?prefix=TEXT"),
        ("/predict", b"price~rating\n1~1\n", CSV, 400, "give ?delimiter=~"),
        ("/predict", b"price,rating7.5,3", FORM, 400, "--data-binary @FILE"),
        (
            "/predict",
            b"price,rating\n1,1\n",
            {"Content-Type": "multipart/form-data"},
            415,
            "multipart",
        ),
        ("/predict", b"\x1f\x8b", {"Content-Encoding": "gzip"}, 400, "is not gzip"),
        ("/predict", b"price\n", {"Content-Type": "text/csv; charset=rot13"}, 400, "rot13"),
        ("/predict?delimiter=ab", b"price,rating\n", CSV, 400, "delimiter"),
        ("/predict?decimal=x", b"price,rating\n", CSV, 400, "the query: decimal: "),
        ("/predict", b"price;rating\n" + b"7,5;3\n" * 20, CSV, 400, "give ?decimal=,"),
    ],
    ids=range(29),
)
def test_invalid_tables(
    client: Client, target: str, body: bytes, headers: dict[str, str], status: int, error: str
) -> None:
    """What is no table gets a one-sentence error."""
    answer = client.ask(target, body, headers)
    assert answer.status == status, answer.body
    assert error in answer.error


@pytest.mark.parametrize(
    ("body", "advice"),
    [
        (b"Price,rating\n1,1\n", "the table has 'Price': rename it"),
        (b"price~rating\n1~1\n", "choose the delimiter under Options"),
        (b"price,rating,label\n1,1,1\n", "give a prefix under Options"),
        (b"price,r\xe4ting\n1,1\n", "save the table as UTF-8"),
    ],
    ids=["names", "delimiter", "prefix", "encoding"],
)
def test_the_page_is_advised_in_plain_words(client: Client, body: bytes, advice: str) -> None:
    """Its user has no query: the same errors say what to do with the table."""
    assert client.ask("/predict", body, {**CSV, "X-Onnxferry-Page": "1"}).error.endswith(advice)
    assert advice not in client.ask("/predict", body, CSV).error.splitlines()


def test_a_loose_header_is_taken_where_it_is_advised(client: Client) -> None:
    """The query that the message names does it."""
    body = b"Price, rating\n7.5,3\n"
    assert client.ask("/predict", body, CSV).error.endswith("with ?loose_header=true")
    assert client.ask("/predict?loose_header=true", body, CSV).status == 200


def test_several_models_need_a_name(
    start_server: Callable[..., Served], bundle: Path, make_bundle: Callable[..., Path]
) -> None:
    """With two models the query selects one; without, the error lists them."""
    server = start_server("--bundle", f"a={bundle}", "--bundle", f"b={make_bundle()}")
    body = b"price,rating\n7.5,3\n"
    assert "'a', 'b'" in server.ask("/predict", body, CSV).error
    assert server.ask("/predict?model=a", body, CSV).status == 200
    assert server.ask("/predict?model=b", body, CSV).status == 200


def _parquet(table: pa.Table, **options: object) -> bytes:
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, **options)
    return bytes(sink.getvalue())


def test_parquet(client: Client, products: bytes) -> None:
    """Parquet is answered as Parquet, or as CSV to who accepts that; bad rows are counted alike."""
    table = pacsv.read_csv(io.BytesIO(products))
    body = _parquet(table)
    for headers in (PARQUET, {}):
        answer = client.ask("/predict", body, headers)
        assert answer.headers["content-type"] == PARQUET["Content-Type"]
        scored = pq.read_table(pa.BufferReader(answer.body))
        assert scored.drop_columns(["label", "probability"]).equals(table)
    as_csv = client.ask("/predict", body, {**PARQUET, "Accept": "text/csv"})
    assert as_csv.headers["content-type"] == "text/csv; charset=utf-8"
    labels = [row["label"] for row in csv.DictReader(io.StringIO(as_csv.body.decode()))]
    assert labels == scored["label"].to_pylist()
    gap = _parquet(pa.table({"price": [7.5, None], "rating": [3.0, 3.0]}))
    assert "price" in client.ask("/predict", gap, PARQUET).error
    kept = client.ask("/predict?bad_rows=null", gap, {**PARQUET, "Accept": "text/csv"})
    assert kept.body.decode().splitlines()[2].startswith(",3,,,")


@pytest.mark.parametrize(
    ("table", "status", "message"),
    [
        (pa.table({"price": [1.0] * 262_145}), 413, "262144 rows"),
        (pa.table({"a": ["x" * 100_000] * 1000}), 413, "decoded table is larger than 16777216"),
        (pa.table({"a": pa.array([b"x" * 4096] * 9000, pa.binary(4096))}), 413, "decoded table"),
        (pa.table({"a": [[1.0]]}), 400, "'a' is nested"),
        (pa.table({"a": pa.array(["{}"], pa.json_())}), 400, "'a' is extension<arrow.json>"),
        (pa.table([["x"], ["y"]], ["a", "a"]), 400, "repeated column names, such as 'a'"),
        (None, 400, "not a Parquet file"),
    ],
    ids=["rows", "text", "fixed", "nested", "extension", "repeated", "damaged"],
)
def test_parquet_is_bounded_before_it_is_read(
    client: Client, table: pa.Table | None, status: int, message: str
) -> None:
    """Repeated values are stored once: the body's size does not bound that of the table."""
    body = _parquet(table) if table else b"PAR1\x00\x00damagedPAR1"
    assert len(body) < 1_000_000
    answer = client.ask("/predict", body, PARQUET)
    assert answer.status == status
    assert message in answer.error
