"""/openapi.json lists all operations, and responses match its schemas."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
from serving_client import features

from runtime.errors import RequestError
from runtime.serving.app import App
from runtime.serving.auth import Auth
from runtime.serving.models.repository import Repository
from runtime.serving.observability.log import Logger
from runtime.serving.observability.traffic import Traffic
from runtime.serving.openapi.operations import OPERATIONS
from runtime.serving.settings import Limits
from runtime.serving.v2.outputs import DATATYPES
from runtime.serving.v2.tensors import BYTES, check_datatype

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from serving_client import Answer, Served

CSV = {"Content-Type": "text/csv"}
BAD = b"price,rating\nx,1\n"
LONG = b"price,rating\n" + b"7.5,3\n" * 200
MANY = features(*([[7.5, 3.0]] * 101))
ROW = features([7.5, 3.0])
VERSION = "/v2/models/{model}/versions/{version}"
OF_A_MODEL = ("/v2/models/{model}", VERSION)

# One request for each status of each operation: path as documented, query, body, header fields,
# status; "other" is the name of a model that does not exist.
REQUESTS: list[tuple[str, str, bytes | None, dict[str, str], int]] = [
    ("/", "", None, {}, 200),
    ("/docs", "", None, {}, 200),
    ("/cards", "", None, {}, 200),
    ("/metrics", "", None, {}, 200),
    ("/openapi.json", "", None, {}, 200),
    *(
        (path, query, body, fields, status)
        for path in ("/predict", "/invocations")
        for query, body, fields, status in (
            ("", b'{"price":7.5,"rating":3}', {}, 200),
            ("?bad_rows=null&proba=all&prefix=a", BAD, CSV, 200),
            ("", BAD, CSV, 400),
            ("?model=other", BAD, CSV, 404),
            ("", LONG, CSV, 413),
        )
    ),
    ("/ping", "", None, {}, 200),
    ("/v2", "", None, {}, 200),
    ("/v2/health/live", "", None, {}, 200),
    ("/v2/health/ready", "", None, {}, 200),
    ("/v2/models/stats", "", None, {}, 200),
    ("/v2/repository/index", "", b"", {}, 200),
    ("/v2/repository/index", "", b"[]", {}, 400),
    *(
        (f"/v2/repository/models/{name}/{verb}", "", body, {}, status)
        for verb in ("load", "unload")
        for name, body, status in (
            ("{model}", b"[]", 400),
            ("other", b"{}", 404),
        )
    ),
    *(
        (path.replace("{model}", name) + rest, "", None, {}, status)
        for path in OF_A_MODEL
        for rest in ("", "/ready", "/stats")
        for name, status in (("{model}", 200), ("other", 404))
    ),
    *(
        (path.replace("{model}", name) + "/infer", "", body, {}, status)
        for path in OF_A_MODEL
        for name, body, status in (
            ("{model}", ROW, 200),
            ("{model}", b"{", 400),
            ("{model}", MANY, 413),
            ("other", ROW, 404),
        )
    ),
    ("/v2/repository/models/{model}/load", "", b"{}", {}, 200),
    ("/v2/repository/models/{model}/unload", "", b"{}", {}, 200),
    ("/v2/health/ready", "", None, {}, 503),
    ("/ping", "", None, {}, 503),
]


@pytest.fixture(scope="module")
def served(start_server: Callable[..., Served], bundle: Path) -> Served:
    """A server whose limits are easily reached."""
    return start_server("--bundle", bundle, "--max-rows", 100)


@pytest.fixture(scope="module")
def document(served: Served) -> Any:  # noqa: ANN401 - JSON
    """Its OpenAPI document."""
    return served.ask("/openapi.json").json


def _fits(schema: Any, value: Any, known: dict[str, Any]) -> bool:  # noqa: ANN401, PLR0911 - JSON Schema
    """Whether a value matches a schema, for the keywords that ours use."""
    if reference := schema.get("$ref"):
        return _fits(known[reference.rpartition("/")[2]], value, known)
    if options := schema.get("anyOf"):
        return any(_fits(one, value, known) for one in options)
    if "enum" in schema and value not in schema["enum"]:
        return False
    kinds = schema.get("type", [])
    names = {dict: "object", list: "array", str: "string", bool: "boolean", int: "integer"}
    name = names.get(type(value), "null" if value is None else "number")
    allowed = [kinds] if isinstance(kinds, str) else kinds
    if allowed and name not in allowed and not (name == "integer" and "number" in allowed):
        return False
    if isinstance(value, list):
        return all(_fits(schema.get("items", {}), one, known) for one in value)
    if isinstance(value, dict):
        inner = schema.get("properties", {})
        rest = schema.get("additionalProperties", {})
        return set(schema.get("required", ())) <= set(value) and all(
            _fits(inner.get(key, rest), one, known) for key, one in value.items()
        )
    return bool(name == "string" or value is None or value >= schema.get("minimum", value))


def _check(document: Any, answer: Answer, path: str, method: str) -> None:  # noqa: ANN401 - JSON
    responses = document["paths"][path][method]["responses"]
    content = responses[str(answer.status)]["content"]
    kind = answer.headers["content-type"].partition(";")[0]
    assert kind in content, (path, kind)
    if kind == "application/json":
        schema = content[kind]["schema"]
        known = document["components"]["schemas"]
        assert _fits(schema, answer.json, known), (path, answer.body)


def test_document_describes_exactly_the_routes(predictor: object) -> None:
    """The table of operations and the table of routes are the same."""
    assert predictor
    limits = Limits()
    app = App(
        Repository({}, "cpu", limits, lambda *_: None), limits, Traffic(), Logger(), Auth(None)
    )
    versioned = {"/v2/models/*", "/v2/models/*/ready", "/v2/models/*/infer", "/v2/models/*/stats"}
    expected = {}
    for path, handlers in app.routes.items():
        expected[path.replace("*", "{model}")] = set(handlers)
        if path in versioned:
            expected[path.replace("*", "{model}/versions/{version}")] = set(handlers)
    assert {path: set(methods) for path, methods in OPERATIONS.items()} == expected


def test_documented_datatypes_and_outputs_are_supported(document: Any) -> None:  # noqa: ANN401 - JSON
    """The schemas list what the server knows, and nothing else."""
    schemas = document["components"]["schemas"]
    assert schemas["RequestedOutput"]["properties"]["name"]["enum"] == list(DATATYPES)
    numbers = set(schemas["InputTensor"]["properties"]["datatype"]["enum"]) - {BYTES}
    for name in numbers:
        check_datatype(name, "inputs[0]")
    with pytest.raises(RequestError) as caught:
        check_datatype("other", "inputs[0]")
    assert set(re.findall(r"[A-Z]+\d+", str(caught.value))) == numbers


def test_every_status_of_every_operation_occurs(served: Served, document: Any) -> None:  # noqa: ANN401 - JSON
    """Statuses, media types and bodies of responses are the documented ones."""
    version = served.ask("/v2/models/simplenet").json["versions"][0]
    seen = set()
    for template, query, body, headers, status in REQUESTS:
        path = template.replace("other", "{model}")
        target = template.replace("{model}", "simplenet").replace("{version}", version) + query
        answer = served.ask(target, body, headers)
        method = "get" if body is None else "post"
        assert answer.status == status, (target, answer)
        _check(document, answer, path, method)
        seen.add((path, method, str(status)))
    documented = {
        (path, method, status)
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
        if method != "parameters"
        for status in operation["responses"]
        if status != "default"
    }
    assert documented == seen
    assert served.ask("/v2/repository/models/simplenet/load", b"").status == 200


def test_examples_are_accepted(sales_server: Served) -> None:
    """Each example of a request, of columns of every kind, has a 200 as response."""
    document = sales_server.ask("/openapi.json").json
    sent = []
    for path, methods in document["paths"].items():
        content = methods.get("post", {}).get("requestBody", {}).get("content", {})
        for media_type, described in content.items():
            for model, example in described.get("examples", {}).items():
                value = example["value"]
                body = value if isinstance(value, str) else json.dumps(value)
                target = path.replace("{model}", model).replace("/versions/{version}", "")
                headers = {"Content-Type": media_type}
                if not path.endswith("/unload"):
                    answer = sales_server.ask(target, body.encode(), headers)
                    assert answer.status == 200, (path, answer.body)
                    _check(document, answer, path, "post")
                sent.append((path, media_type))
    posts = [path for path, methods in document["paths"].items() if "post" in methods]
    assert {path for path, _ in sent} == set(posts)
    assert ("/predict", "text/csv") in sent


def test_transport_errors_are_described(served: Served, document: Any) -> None:  # noqa: ANN401 - JSON
    """Errors that any path may respond with have the documented schema and status."""
    description = document["paths"]["/v2"]["get"]["responses"]["default"]["description"]
    with served.client() as client:
        client.send(b"PUT /v2 HTTP/1.1\r\nHost: a\r\n\r\n")
        wrong = client.read()
    answers = [
        wrong,
        served.ask("/v2", None, {"Expect": "x"}),
        served.ask("/v2", b"", {"A": "b" * 20_000}),
    ]
    with served.client() as client:
        client.send(b"nonsense\r\n\r\n")
        answers.append(client.read())
    assert [answer.status for answer in answers] == [405, 417, 431, 400]
    for answer in answers:
        assert re.search(rf"\b{answer.status}\b", description)
        assert answer.error


def test_security_is_described_where_a_key_is_required(
    start_server: Callable[..., Served], bundle: Path, tmp_path: Path
) -> None:
    """With keys every operation but health documents 401, and responds with it."""
    keys = tmp_path / "keys"
    keys.write_text("a-key-of-some-length\n")
    server = start_server("--bundle", bundle, "--api-key-file", keys)
    document = server.ask("/openapi.json", None, {"X-API-Key": "a-key-of-some-length"}).json
    for path, methods in document["paths"].items():
        for method in methods.keys() - {"parameters"}:
            target = path.replace("{", "").replace("}", "")
            answer = server.ask(target, b"" if method == "post" else None)
            guarded = not path.startswith(("/v2/health/", "/ping"))
            assert (answer.status == 401) == guarded, path
            assert ("401" in methods[method]["responses"]) == guarded, path
            assert ("security" in methods[method]) == guarded, path
            if guarded:
                _check(document, answer, path, method)
    assert set(document["components"]["securitySchemes"]) == {"bearer", "basic", "header"}
    assert server.end() == 0


@pytest.mark.parametrize(
    ("choice", "examples"), [("--exclude-path-regex", 25), ("--include-path-regex", 10)]
)
def test_schemathesis_finds_nothing(
    start_server: Callable[..., Served], bundle: Path, tmp_path: Path, choice: str, examples: int
) -> None:
    """A tool that reads the document and attacks what it describes finds no other answer.

    Unloading is attacked by itself: without a model there is little else to attack. That every
    request that fits the schema is accepted is not promised: a shape has to fit its data.
    """
    pytest.importorskip("schemathesis")
    server = start_server("--bundle", bundle)
    words = [sys.executable, "-c", "from schemathesis.cli import schemathesis as run; run()", "run"]
    words += [f"http://127.0.0.1:{server.port}/openapi.json", choice, "unload$", "--seed", "1"]
    words += ["--max-examples", str(examples), "--exclude-checks", "positive_data_acceptance"]
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-5000:]
    assert json.loads(server.ask("/v2/health/live").body)["live"]
    assert server.end() == 0
