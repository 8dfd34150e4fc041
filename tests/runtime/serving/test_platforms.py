"""What SageMaker and Vertex AI ask of a container."""

from __future__ import annotations

import asyncio
import gzip
import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest
from typer.main import get_command

from runtime.cli.app import app as cli
from runtime.errors import UsageError
from runtime.serving.app import App
from runtime.serving.auth import Auth
from runtime.serving.handlers.platforms import platform_routes
from runtime.serving.http.messages import Reply, Request, Response
from runtime.serving.models.repository import Repository
from runtime.serving.observability.log import Logger
from runtime.serving.observability.traffic import Traffic
from runtime.serving.settings import Limits

if TYPE_CHECKING:
    from pathlib import Path

    from serving_client import Client

    from runtime.serving.routing import Call

JSON = {b"content-type": b"application/json"}
HEALTH = "/v1/endpoints/7/deployedModels/8"
PREDICT = f"{HEALTH}:predict"
ROWS = [{"rating": 3.0, "id": "a", "price": 7.5}, {"price": 2, "rating": 1.5}]


Ask = Callable[..., tuple[int, Any]]


@pytest.fixture
def vertex(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> Ask:
    """``vertex(target, body, fields)``: status and JSON of a server with Vertex AI's variables."""
    monkeypatch.setenv("AIP_HEALTH_ROUTE", HEALTH)
    monkeypatch.setenv("AIP_PREDICT_ROUTE", PREDICT)
    limits = Limits()
    repository = Repository({"simplenet": bundle}, "cpu", limits, lambda *_: None)
    repository.open_all()

    async def ask(target: str, body: bytes, fields: dict[bytes, bytes]) -> tuple[int, Any]:
        app = App(repository, limits, Traffic(), Logger(), Auth(None))
        replied: asyncio.Future[Response] = asyncio.get_running_loop().create_future()
        method = "POST" if body else "GET"
        app.handle(Request(method, target, fields, body, 0), replied.set_result)
        response = await replied
        return response.status, json.loads(b"".join(response.body))

    def run(
        target: str, body: bytes | object = b"", fields: dict[bytes, bytes] | None = None
    ) -> tuple[int, Any]:
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        return asyncio.run(ask(target, content, JSON if fields is None else fields))

    return run


def test_sagemaker_pings_and_invokes(client: Client) -> None:
    """Ready, and rows as CSV, JSON and JSON Lines as /predict returns them."""
    assert client.ask("/ping").status == 200
    table = b"id,price,rating\na,7.5,3\n"
    lines = b'{"price": 7.5, "rating": 3}\n'
    for body, kind in (
        (table, "text/csv"),
        (json.dumps(ROWS).encode(), "application/json"),
        (lines, "application/jsonlines"),
    ):
        fields = {"Content-Type": kind}
        answer = client.ask("/invocations", body, fields)
        assert answer.status == 200, answer.body
        assert answer.body == client.ask("/predict", body, fields).body
    assert client.ask("/invocations", b"7.5,3\n", {"Content-Type": "text/csv"}).status == 400


def test_vertex_has_its_routes_and_its_messages(vertex: Ask) -> None:
    """Instances become predictions, by name, with parameters; errors stay errors."""
    assert vertex(HEALTH) == (200, {"ready": True})
    status, answer = vertex(PREDICT, {"instances": ROWS})
    assert (status, list(answer)) == (200, ["predictions"])
    assert [row["label"] for row in answer["predictions"]] == ["yes", "no"]
    assert answer["predictions"] == vertex("/predict", ROWS)[1]
    parameters = {"proba": "all", "prefix": "my_", "bad_rows": "null"}
    bad = {"price": "x", "rating": 1}
    _, answer = vertex(PREDICT, {"instances": [*ROWS, bad], "parameters": parameters})
    assert [row["my_label"] for row in answer["predictions"]] == ["yes", "no", None]
    assert "my_probability_yes" in answer["predictions"][0]
    _, answer = vertex(
        PREDICT, {"instances": ROWS, "parameters": {"proba": True, "bad_rows": None}}
    )
    assert {"probability_no", "probability_yes"} < answer["predictions"][0].keys()
    status, answer = vertex(PREDICT, {"instances": [bad]})
    assert (status, list(answer)) == (400, ["error"])
    assert vertex(PREDICT, {"instances": []}) == (200, {"predictions": []})


def test_another_body_is_one_of_predict(vertex: Ask) -> None:
    """RawPredict sends what it likes; compressed bodies are read, and those with a mark."""
    marked = b"\xef\xbb\xbf" + b" " * 99 + json.dumps({"instances": ROWS}).encode()
    assert list(vertex(PREDICT, marked)[1]) == ["predictions"]
    assert vertex(PREDICT, ROWS) == vertex("/predict", ROWS)
    assert vertex(PREDICT, ROWS[0])[1]["label"] == "yes"
    body = gzip.compress(json.dumps({"instances": ROWS}).encode())
    status, answer = vertex(PREDICT, body, {**JSON, b"content-encoding": b"gzip"})
    assert (status, len(answer["predictions"])) == (200, 2)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"instances": ROWS[0]}, "instances: an array of objects"),
        ({"instances": [[7.5, 3.0]]}, "object"),
        ({"instances": ROWS, "parameters": {"probability": 1}}, "parameters has 'probability=1'"),
        (
            {"instances": ROWS, "parameters": {"proba": "perhaps"}},
            "proba=perhaps: there is no",
        ),
        (b'{"instances": [', "the body"),
    ],
    ids=["object", "matrix", "name", "value", "damaged"],
)
def test_what_vertex_cannot_score_is_refused(vertex: Ask, body: object, message: str) -> None:
    """A 400 that names the place."""
    status, answer = vertex(PREDICT, body)
    assert status == 400
    assert message in answer["error"]


def test_variables_that_are_no_paths_are_refused() -> None:
    """They are an error of the start; a path of ours keeps its other methods."""

    def own(_call: Call, _reply: Reply) -> None:
        raise AssertionError

    routes = {"/v2/health/ready": {"GET": own}, "/predict": {"POST": own}, "/": {"GET": own}}
    for name, path in {"AIP_HEALTH_ROUTE": "health", "AIP_PREDICT_ROUTE": "/a?b"}.items():
        with pytest.raises(UsageError, match=name):
            platform_routes(routes, {name: path})
    added = platform_routes(routes, {"AIP_PREDICT_ROUTE": "/", "AIP_HEALTH_ROUTE": "/"})
    assert set(added["/"]) == {"GET", "POST"}
    assert set(platform_routes(routes, {})) == {"/ping", "/invocations"}


@pytest.mark.parametrize(
    ("variables", "port"),
    [
        ({"AIP_HTTP_PORT": "8081", "ONNXFERRY_PORT": "8080"}, 8081),
        ({"SAGEMAKER_BIND_TO_PORT": "8082", "ONNXFERRY_PORT": "8080"}, 8082),
        ({"ONNXFERRY_PORT": "8080", "ONNXFERRY_HOST": "0.0.0.0"}, 8080),  # noqa: S104 - not bound
        ({}, None),
    ],
)
def test_the_platform_chooses_the_port(
    variables: dict[str, str], port: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its variable wins over that of the image, and an option over both."""
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    serve = get_command(cli).commands["serve"]  # type: ignore[attr-defined]
    params = serve.make_context("serve", []).params
    assert (params["port"], params["host"]) == (port, variables.get("ONNXFERRY_HOST", "127.0.0.1"))
    assert serve.make_context("serve", ["--port", "9"]).params["port"] == 9
