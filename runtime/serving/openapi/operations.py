"""All operations with their parameters and bodies; tests compare them with the routes."""

from __future__ import annotations

from typing import Annotated, Any, Final

from msgspec import Meta
from msgspec.structs import replace

from runtime.serving.ui.page import ModelCard
from runtime.serving.v2.messages import InferenceRequest, RepositoryParams
from runtime.serving.v2.responses import (
    Empty,
    Error,
    InferenceResponse,
    ModelMetadata,
    ModelReady,
    RepositoryModel,
    ServerLive,
    ServerMetadata,
    ServerReady,
    StatisticsResponse,
)
from runtime.value import Value

JSON: Final = "application/json"
_BINARY: Final = "application/octet-stream"
_CSV: Final = "text/csv"

Contents = dict[str, Any]  # type of the JSON by media type; None for other media types
Rows = dict[str, Any] | list[dict[str, Any]]

_ERROR: Final[Contents] = {JSON: Error}
_BAD_REQUEST: Final = {400: _ERROR}
_NOT_FOUND: Final = {404: _ERROR}
_EITHER: Final = {**_BAD_REQUEST, **_NOT_FOUND}


class LoadRequest(RepositoryParams):
    """Loading takes no parameters."""

    parameters: Annotated[dict[str, Any], Meta(max_length=0)] | None = None


class Operation(Value, frozen=True):
    """A method of a path.

    Attributes:
        summary: a few words.
        responses: contents by status.
        body: contents of the request; None where it has none.
        body_required: whether the body may be left out.
        parameters: names in ``PARAMETERS``.
    """

    summary: str
    responses: dict[int, Contents]
    body: Contents | None = None
    body_required: bool = False
    parameters: tuple[str, ...] = ()


def _enum(default: str, *words: str) -> dict[str, object]:
    return {"type": "string", "enum": list(words), "default": default}


# In the query or the header.
PARAMETERS: Final[dict[str, dict[str, object]]] = {
    "model": {"in": "query", "schema": {"type": "string"}},
    "bad_rows": {"in": "query", "schema": _enum("fail", "fail", "null")},
    "proba": {"in": "query", "schema": _enum("false", "true", "false")},
    "prefix": {"in": "query", "schema": {"type": "string"}},
    "delimiter": {
        "in": "query",
        "description": "between the fields of CSV; by default detected from the header",
        "schema": {"type": "string", "enum": ["comma", "semicolon", "tab", "pipe"]},
    },
    "decimal": {"in": "query", "schema": _enum(".", ".", ",")},
    "Inference-Header-Content-Length": {
        "in": "header",
        "description": "bytes of the JSON, which binary tensors follow",
        "schema": {"type": "integer", "minimum": 0},
    },
}


def _ok(body: object) -> dict[int, Contents]:
    return {200: {JSON: body}}


_INFER: Final = Operation(
    "Run inference on tensors",
    {200: {JSON: InferenceResponse, _BINARY: None}, 413: _ERROR, **_EITHER},
    {JSON: InferenceRequest, _BINARY: None},
    body_required=True,
    parameters=("Inference-Header-Content-Length",),
)
_MODEL: Final = {
    "": {"GET": Operation("Model metadata", _ok(ModelMetadata) | _NOT_FOUND)},
    "/ready": {"GET": Operation("Model readiness", _ok(ModelReady) | _NOT_FOUND)},
    "/infer": {"POST": _INFER},
    "/stats": {"GET": Operation("Model statistics", _ok(StatisticsResponse) | _NOT_FOUND)},
}
_REPOSITORY: Final = {
    verb: {"POST": Operation(summary, _ok(Empty) | _EITHER, {JSON: body})}
    for verb, summary, body in (
        ("load", "Load a model; its old version is served until the new one passes", LoadRequest),
        ("unload", "Unload a model", RepositoryParams),
    )
}
_PREDICT: Final = Operation(
    "Score rows, sent as objects or CSV, and return them with their predictions",
    {200: {JSON: Rows, _CSV: None}, 413: _ERROR, **_EITHER},
    {JSON: Rows, _CSV: None},
    body_required=True,
    parameters=("model", "bad_rows", "proba", "prefix", "delimiter", "decimal"),
)
_READY: Final = _ok(ServerReady) | {503: {JSON: ServerReady}}

# By path; {model} and {version} are path parameters.
OPERATIONS: Final[dict[str, dict[str, Operation]]] = {
    "/": {"GET": Operation("Web page", {200: {"text/html": None}})},
    "/cards": {"GET": Operation("Model cards", _ok(list[ModelCard]))},
    "/metrics": {"GET": Operation("Metrics for Prometheus", {200: {"text/plain": None}})},
    "/openapi.json": {"GET": Operation("This document", _ok(dict[str, Any]))},
    "/invocations": {"POST": replace(_PREDICT, summary="The same as /predict, for SageMaker")},
    "/ping": {"GET": Operation("Server readiness, for SageMaker", _READY)},
    "/predict": {"POST": _PREDICT},
    "/v2": {"GET": Operation("Server metadata", _ok(ServerMetadata))},
    "/v2/health/live": {"GET": Operation("Server liveness", _ok(ServerLive))},
    "/v2/health/ready": {"GET": Operation("Server readiness", _READY)},
    "/v2/models/stats": {"GET": Operation("Statistics of all models", _ok(StatisticsResponse))},
    "/v2/repository/index": {
        "POST": Operation(
            "List the models", _ok(list[RepositoryModel]) | _BAD_REQUEST, {JSON: RepositoryParams}
        )
    },
    **{f"/v2/repository/models/{{model}}/{verb}": found for verb, found in _REPOSITORY.items()},
    **{
        f"/v2/models/{{model}}{version}{rest}": found
        for version in ("", "/versions/{version}")
        for rest, found in _MODEL.items()
    },
}
