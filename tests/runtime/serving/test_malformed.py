"""Bodies that are no JSON, and URLs that do not exist: what came, and what is taken."""

from __future__ import annotations

import gzip
import json
from typing import TYPE_CHECKING

import pytest

from runtime.serving.suggestions import suggest_paths

if TYPE_CHECKING:
    from serving_client import Client

INFER = "/v2/models/simplenet/infer"
INDEX = "/v2/repository/index"
JSON = {"Content-Type": "application/json"}
FORM = {"Content-Type": "application/x-www-form-urlencoded"}  # the default of curl -d
ROW = b'{"price": 7.5, "rating": 3.0}'
MALFORMED = {
    "empty": (b" \n", "is empty"),
    "csv": (b"price,rating\n7.5,3\n", "looks like CSV, not JSON"),
    "form": (b"price=7.5&rating=3", "is form data"),
    "multipart": (b"--x\r\n", "is a multipart form"),
    "html": (b"<!doctype html><p>", "is an HTML page"),
    "xml": (b"<rows/>", "is a markup document"),
    "truncated": (ROW[:20], "ends within the JSON, after 20 bytes"),
    "python": (b"{'price': 7.5}", "single quotes; JSON has double"),
    "windows": (b"'{price:7.5}'", "begins with a single quote"),
    "shell": (b"{price:7.5}", "names without quotes"),
    "escaped": (rb"{\"price\":7.5}", "escaped twice"),
    "name": (b"rows.json", "is the name of a file"),
    "url": (b"%7B%22price%22%3A7.5%7D", "is URL-encoded JSON"),
    "comment": (b"// a row\n" + ROW, "begins with a comment"),
    "gzip": (gzip.compress(ROW), "add Content-Encoding: gzip"),
    "utf-16": (ROW.decode().encode("utf-16"), "is UTF-16"),
    "utf-16-le": (ROW.decode().encode("utf-16-le"), "is UTF-16"),
    "zip": (b"PK\x03\x04", "is a zip archive, not JSON"),
    "comma": (ROW[:-1] + b",}", "is not JSON: trailing comma in object (byte"),
}


@pytest.mark.parametrize(("body", "what"), MALFORMED.values(), ids=MALFORMED)
def test_a_body_that_is_no_json(client: Client, body: bytes, what: str) -> None:
    """The message says what came; its example works when it is sent."""
    for path in ("/predict", INFER):
        answer = client.ask(path, body, JSON)
        assert answer.status == 400
        assert what in answer.error
        example, _ = json.JSONDecoder().raw_decode(answer.error.partition("such as ")[2])
        assert client.ask(path, json.dumps(example).encode(), JSON).status == 200
    answer = client.ask(INDEX, body, JSON)
    assert answer.status == 400
    assert what in answer.error
    assert answer.error.endswith("; send no body, or a JSON object")


@pytest.mark.parametrize("kind", ["empty", "form", "windows", "name", "url", "html"])
@pytest.mark.parametrize("headers", [FORM, {}], ids=["curl", "none"])
def test_one_line_without_a_media_type(client: Client, kind: str, headers: dict[str, str]) -> None:
    """Where the type says nothing it might be CSV, which these are not."""
    body, what = MALFORMED[kind]
    answer = client.ask("/predict", body.rstrip(b"\n"), headers)
    assert (answer.status, what in answer.error) == (400, True), answer.error


@pytest.mark.parametrize(
    ("body", "what"),
    [
        (ROW + b"\n" + ROW, "send JSON Lines with Content-Type: application/x-ndjson"),
        (b'{"instances": [[7.5, 3.0]]}', "an object with 'instances' and none of the model's"),
        (b"[[7.5, 3.0]]", "the body[0]: expected object, got array"),
        (b"7", "expected array, got int"),
    ],
    ids=["lines", "wrapped", "matrix", "number"],
)
def test_json_that_is_no_rows(client: Client, body: bytes, what: str) -> None:
    """What other servers take is answered with what this one takes."""
    answer = client.ask("/predict", body, JSON)
    assert answer.status == 400
    assert what in answer.error
    assert 'send rows as JSON, such as {"price":' in answer.error


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/v1/models/simplenet:predict", "/predict or /v2/models/simplenet/infer?"),
        ("/v1/predictions", "/predict or /v2/models/simplenet/infer?"),
        ("/healthz", "/v2/health/ready or /v2/health/live?"),
        ("/v2/model", "/v2/models/simplenet or /v2/repository/index?"),
        ("/v2/repositry/indx", "/v2/repository/index"),
        ("/Metrics", "/metrics?"),
    ],
)
def test_unknown_urls_name_similar_ones(client: Client, path: str, expected: str) -> None:
    """URLs of other servers and misspelt ones."""
    answer = client.ask(path)
    assert answer.status == 404
    assert f"did you mean {expected}" in answer.error


def test_another_method_names_the_url(client: Client) -> None:
    """What is allowed, and where."""
    answer = client.ask("/predict")
    assert (answer.status, answer.error) == (405, "GET is not allowed at /predict; use POST")


def test_suggestions_quote_names() -> None:
    """A model may be named anything; the one that is asked for comes first."""
    routes = ["/predict", "/v2/models/*/infer"]
    found = suggest_paths("/v1/models/b:predict", routes, ["a", "b", "c d"])
    assert found == ["/predict", "/v2/models/b/infer"]
    assert suggest_paths("/score", routes, ["c d"]) == ["/predict", "/v2/models/c%20d/infer"]
    assert suggest_paths("/" + "x" * 9999, routes, []) == []
