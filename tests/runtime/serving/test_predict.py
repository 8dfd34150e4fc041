"""``POST /predict``: rows for people."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from serving_client import Client, Served

CSV = {"Content-Type": "text/csv"}
JSON = {"Content-Type": "application/json"}
FORM = {"Content-Type": "application/x-www-form-urlencoded"}  # what curl -d says of anything


@pytest.mark.parametrize("headers", [CSV, FORM, {}], ids=["csv", "curl", "none"])
def test_csv_comes_back_as_predict_writes_it(
    client: Client, bundle: Path, tmp_path: Path, products: bytes, headers: dict[str, str]
) -> None:
    """The same bytes as ``runtime predict``: columns unchanged, then label and probability."""
    from runtime.predictor import Predictor

    (tmp_path / "products.csv").write_bytes(products)
    scored = tmp_path / "scored.csv"
    Predictor.open(bundle, provider="cpu").score_file(tmp_path / "products.csv", scored)
    answer = client.ask("/predict", products, headers)
    assert answer.status == 200
    assert answer.headers["content-type"] == "text/csv; charset=utf-8"
    assert answer.body == scored.read_bytes()


@pytest.mark.parametrize("headers", [JSON, FORM, {}], ids=["json", "curl", "none"])
def test_json_objects_come_back_with_their_answers(client: Client, headers: dict[str, str]) -> None:
    """Each object keeps its members, in any order and with any others, and gets two more."""
    rows = [{"rating": 3.0, "id": "a\nb", "price": 7.5}, {"price": "2", "rating": 1.5, "id": None}]
    answer = client.ask("/predict", json.dumps(rows, indent=1).encode(), headers)
    assert answer.status == 200, answer.body
    assert [row["label"] for row in answer.json] == ["yes", "no"]
    assert 0.8 < answer.json[0]["probability"] < 0.81
    assert [{key: row[key] for key in rows[0]} for row in answer.json] == rows


def test_one_object_is_answered_by_one(client: Client) -> None:
    """A single row needs no array around it."""
    answer = client.ask("/predict", b'{\n"price": 7.5,\r\n"rating": 3}', JSON)
    assert answer.json["label"] == "yes"


def test_no_rows(client: Client) -> None:
    """An empty array is answered by an empty array."""
    assert client.ask("/predict", b"[]", JSON).json == []


def test_proba_and_prefix(client: Client) -> None:
    """The query adds a column a class, and a prefix to each new name."""
    answer = client.ask("/predict?proba=true&prefix=model_", b"price,rating\n7.5,3\n", CSV)
    assert answer.body.split(b"\n")[0] == (
        b"price,rating,model_label,model_probability,model_probability_no,model_probability_yes"
    )


@pytest.mark.parametrize(
    ("body", "headers", "told"),
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
def test_bad_rows_are_named(
    client: Client, body: bytes, headers: dict[str, str], told: list[str]
) -> None:
    """Rows that cannot be scored refuse the request, each with its place and reason."""
    answer = client.ask("/predict", body, headers)
    assert answer.status == 400
    for word in told:
        assert word in answer.error


def test_bad_rows_can_stay(client: Client) -> None:
    """With bad_rows=null they stay where they are, with empty answers and the reason."""
    body = b'[{"price": 7.5, "rating": 3}, {"price": "x", "rating": 3}]'
    good, bad = client.ask("/predict?bad_rows=null", body, JSON).json
    assert (good["label"], good["reason"]) == ("yes", None)
    assert (bad["label"], bad["probability"]) == (None, None)
    assert bad["reason"] == "price: not a number"


@pytest.mark.parametrize(
    ("target", "body", "headers", "status", "told"),
    [
        ("/predict", b"", CSV, 400, "empty"),
        ("/predict", b"price\n1\n", CSV, 400, "column 'rating' is missing"),
        ("/predict", b'[{"price": 1}]', JSON, 400, "column 'rating' is missing"),
        ("/predict", b"[1, 2]", JSON, 400, "the body[0]: expected object"),
        ("/predict", b"[{", JSON, 400, "truncated"),
        ("/predict", b'"text"', JSON, 400, "expected array"),
        ("/predict", b"[" * 100_000, JSON, 400, "the body"),
        ("/predict?colour=1", b"", CSV, 400, "the query has"),
        ("/predict?bad_rows=reject", b"", CSV, 400, "the query"),
        ("/predict?proba=maybe", b"", CSV, 400, "the query"),
        ("/predict?" + "&".join("a=1" for _ in range(99)), b"", CSV, 400, "the query"),
        ("/predict?model=other", b"", CSV, 404, "no model 'other'"),
        ("/predict", b"price,rating\n" + b"1,1\n" * 600_000, CSV, 413, "rows allowed"),
        ("/predict", b"[" + b"{}," * 3_000_000 + b"{}]", JSON, 413, "rows allowed"),
    ],
    ids=range(14),
)
def test_what_cannot_be_scored(
    client: Client, target: str, body: bytes, headers: dict[str, str], status: int, told: str
) -> None:
    """What is no table is refused in one sentence."""
    answer = client.ask(target, body, headers)
    assert answer.status == status, answer.body
    assert told in answer.error


def test_of_several_models_one_is_named(
    start_server: Callable[..., Served], bundle: Path, make_bundle: Callable[..., Path]
) -> None:
    """With two models the query says which; without, the names are given."""
    server = start_server("--bundle", f"a={bundle}", "--bundle", f"b={make_bundle()}")
    body = b"price,rating\n7.5,3\n"
    assert "'a', 'b'" in server.ask("/predict", body, CSV).error
    assert server.ask("/predict?model=a", body, CSV).status == 200
    assert server.ask("/predict?model=b", body, CSV).status == 200
