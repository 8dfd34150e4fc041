"""All operations with their parameters and bodies; tests compare them with the routes."""

from __future__ import annotations

from collections.abc import Callable  # noqa: TC003 - msgspec reads the annotation
from typing import Annotated, Any, Final

from msgspec import Meta
from msgspec.structs import replace

from runtime.schema.features import Schema  # noqa: TC001 - likewise
from runtime.serving.examples import (
    example_parameters,
    example_rows,
    example_tensors,
    no_example,
)
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
_LINES: Final = "application/x-ndjson"
_PARQUET: Final = "application/vnd.apache.parquet"

Contents = dict[str, Any]  # type of the JSON by media type; None for other media types
Rows = dict[str, Any] | list[dict[str, Any]]

_ERROR: Final[Contents] = {JSON: Error}
_BAD_REQUEST: Final = {400: _ERROR}
_NOT_FOUND: Final = {404: _ERROR}
_EITHER: Final = {**_BAD_REQUEST, **_NOT_FOUND}


_PREDICT_PARAMETERS: Final = (
    "model",
    "bad_rows",
    "proba",
    "prefix",
    "delimiter",
    "decimal",
    "loose_header",
)


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
        example: returns a body for a model by media type.
    """

    summary: str
    responses: dict[int, Contents]
    body: Contents | None = None
    body_required: bool = False
    parameters: tuple[str, ...] = ()
    example: Callable[[Schema], Contents] = no_example


# By the beginning of a path, the first that fits.
TAGS: Final = {
    "/predict": "Tables",
    "/v2/models": "Models",
    "/v2/repository": "Model repository",
    "/v2": "Server",
    "/": "Pages and metrics",
}


def _query(description: str, *words: str, default: str | None = None) -> dict[str, object]:
    schema = {"enum": list(words)} if words else {}
    more = {} if default is None else {"default": default}
    return {
        "in": "query",
        "description": description,
        "schema": {"type": "string", **schema, **more},
    }


# In the query or the header.
PARAMETERS: Final[dict[str, dict[str, object]]] = {
    "model": {"in": "query", "description": "which one; may be left out where only one is served"},
    "bad_rows": _query(
        "rows that cannot be scored fail the request, or are kept with the reason",
        *("fail", "null"),
        default="fail",
    ),
    "proba": _query(
        "add the probability of each class (all), of the positive one of two (positive), or of "
        "the class of that name"
    ),
    "prefix": _query("of the new columns' names"),
    "delimiter": _query(
        "between the fields of CSV; by default detected from the header",
        *("comma", "semicolon", "tab", "pipe"),
    ),
    "decimal": _query("decimal sign of numbers in text", ".", ",", default="."),
    "loose_header": _query(
        "match column names regardless of case and blanks", "true", "false", default="false"
    ),
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
    example=example_tensors,
)
_MODEL: Final = {
    "": {"GET": Operation("Model metadata", _ok(ModelMetadata) | _NOT_FOUND)},
    "/ready": {"GET": Operation("Model readiness", _ok(ModelReady) | _NOT_FOUND)},
    "/infer": {"POST": _INFER},
    "/stats": {"GET": Operation("Model statistics", _ok(StatisticsResponse) | _NOT_FOUND)},
}
_REPOSITORY: Final = {
    verb: {
        "POST": Operation(summary, _ok(Empty) | _EITHER, {JSON: body}, example=example_parameters)
    }
    for verb, summary, body in (
        ("load", "Load a model; its old version is served until the new one passes", LoadRequest),
        ("unload", "Unload a model", RepositoryParams),
    )
}
_PREDICT: Final = Operation(
    "Score rows of JSON, CSV or Parquet, and return them with their predictions",
    {200: {JSON: Rows, _LINES: None, _CSV: None, _PARQUET: None}, 413: _ERROR, **_EITHER},
    {JSON: Rows, _LINES: None, _CSV: None, _PARQUET: None},
    body_required=True,
    parameters=_PREDICT_PARAMETERS,
    example=example_rows,
)
_READY: Final = _ok(ServerReady) | {503: {JSON: ServerReady}}

# By path; {model} and {version} are path parameters.
OPERATIONS: Final[dict[str, dict[str, Operation]]] = {
    "/": {"GET": Operation("Web page", {200: {"text/html": None}})},
    "/docs": {"GET": Operation("This document as a web page", {200: {"text/html": None}})},
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
            "List the models",
            _ok(list[RepositoryModel]) | _BAD_REQUEST,
            {JSON: RepositoryParams},
            example=example_parameters,
        )
    },
    **{f"/v2/repository/models/{{model}}/{verb}": found for verb, found in _REPOSITORY.items()},
    **{
        f"/v2/models/{{model}}{version}{rest}": found
        for version in ("", "/versions/{version}")
        for rest, found in _MODEL.items()
    },
}
