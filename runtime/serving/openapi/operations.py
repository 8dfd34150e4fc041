"""Every operation: what is sent, which answers there are. A test compares it with the routes."""

from __future__ import annotations

from typing import Final

from runtime.value import Value

JSON: Final = "application/json"
_BINARY: Final = "application/octet-stream"
_CSV: Final = "text/csv"

Contents = dict[str, str]  # name of a schema by media type; "" for what is no JSON

_ERROR: Final[Contents] = {JSON: "Error"}
_MAY_BE_WRONG: Final = {400: _ERROR}
_MAY_BE_MISSING: Final = {404: _ERROR}
_MAY_BE_BOTH: Final = {**_MAY_BE_WRONG, **_MAY_BE_MISSING}


class Operation(Value, frozen=True):
    """What a method of an address does.

    Attributes:
        summary: in a few words.
        answers: contents by status.
        body: what is sent; None where nothing is.
        needs_body: whether it must be.
        parameters: names of those in ``PARAMETERS`` that may be sent.
    """

    summary: str
    answers: dict[int, Contents]
    body: Contents | None = None
    needs_body: bool = False
    parameters: tuple[str, ...] = ()


def _flag(default: str, *words: str) -> dict[str, object]:
    return {"type": "string", "enum": list(words), "default": default}


# Options of the query, and fields of the header.
PARAMETERS: Final[dict[str, dict[str, object]]] = {
    "model": {"in": "query", "schema": {"type": "string"}},
    "bad_rows": {"in": "query", "schema": _flag("fail", "fail", "null")},
    "proba": {"in": "query", "schema": _flag("false", "true", "false")},
    "prefix": {"in": "query", "schema": {"type": "string"}},
    "delimiter": {
        "in": "query",
        "description": "between the fields of CSV, where its header doesn't tell",
        "schema": {"type": "string", "enum": ["comma", "semicolon", "tab", "pipe"]},
    },
    "decimal": {"in": "query", "schema": _flag(".", ".", ",")},
    "Inference-Header-Content-Length": {
        "in": "header",
        "description": "bytes of the JSON, which tensors in binary follow",
        "schema": {"type": "integer", "minimum": 0},
    },
}


def _told(name: str) -> dict[int, Contents]:
    return {200: {JSON: name}}


_INFER: Final = Operation(
    "Answer rows, sent as tensors",
    {
        200: {JSON: "InferenceAnswer", _BINARY: ""},
        413: _ERROR,
        **_MAY_BE_BOTH,
    },
    {JSON: "InferenceRequest", _BINARY: ""},
    needs_body=True,
    parameters=("Inference-Header-Content-Length",),
)
_OF_A_MODEL: Final = {
    "": {"GET": Operation("Describe a model", _told("Model") | _MAY_BE_MISSING)},
    "/ready": {"GET": Operation("Tell whether it answers", _told("ModelReady") | _MAY_BE_MISSING)},
    "/infer": {"POST": _INFER},
    "/stats": {"GET": Operation("Tell what it has done", _told("Statistics") | _MAY_BE_MISSING)},
}
_STORED: Final = {
    verb: {"POST": Operation(summary, _told("Done") | _MAY_BE_BOTH, {JSON: body})}
    for verb, summary, body in (
        ("load", "Open its bundle anew; the old version goes on until it is proven", "LoadRequest"),
        ("unload", "Stop serving it", "UnloadRequest"),
    )
}

# By address; {model} and {version} stand for their names.
OPERATIONS: Final[dict[str, dict[str, Operation]]] = {
    "/": {"GET": Operation("The page for people", {200: {"text/html": ""}})},
    "/cards": {"GET": Operation("Model cards", _told("Cards"))},
    "/metrics": {"GET": Operation("Counts for Prometheus", {200: {"text/plain": ""}})},
    "/openapi.json": {"GET": Operation("This document", _told("Any"))},
    "/predict": {
        "POST": Operation(
            "Answer rows, sent as objects or CSV, and give them back with their answers",
            {200: {JSON: "Rows", _CSV: ""}, 413: _ERROR, **_MAY_BE_BOTH},
            {JSON: "Rows", _CSV: ""},
            needs_body=True,
            parameters=("model", "bad_rows", "proba", "prefix", "delimiter", "decimal"),
        )
    },
    "/v2": {"GET": Operation("Describe the server", _told("Server"))},
    "/v2/health/live": {"GET": Operation("Tell whether the server lives", _told("Live"))},
    "/v2/health/ready": {
        "GET": Operation("Tell whether it is ready", _told("Ready") | {503: {JSON: "Ready"}})
    },
    "/v2/models/stats": {"GET": Operation("Tell what all models have done", _told("Statistics"))},
    "/v2/repository/index": {
        "POST": Operation(
            "List the bundles", _told("Index") | _MAY_BE_WRONG, {JSON: "IndexRequest"}
        )
    },
    **{f"/v2/repository/models/{{model}}/{verb}": found for verb, found in _STORED.items()},
    **{
        f"/v2/models/{{model}}{version}{rest}": found
        for version in ("", "/versions/{version}")
        for rest, found in _OF_A_MODEL.items()
    },
}
