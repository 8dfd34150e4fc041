"""``GET /openapi.json``: the operations and schemas as an OpenAPI 3.1 document.

Source: OpenAPI Specification 3.1.1 (spec.openapis.org/oas/v3.1.1). In: the names of the models.
Out: JSON. No errors.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from runtime.serving.openapi.operations import JSON, OPERATIONS, PARAMETERS
from runtime.serving.openapi.schemas import SCHEMAS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from runtime.serving.openapi.operations import Contents, Operation
    from runtime.serving.openapi.schemas import Schema

_DESCRIPTION: Final = (
    "Open Inference Protocol v2 with the extensions binary tensor data, model repository and "
    "statistics; rows for people at /predict. Every refusal is an object with `error`."
)
_OPEN: Final = "/v2/health/"
_ALWAYS: Final = (
    "What cannot be read or is too much now: 400, 405, 408, 413, 415, 417, 431, 501, 503; and 500, "
    "which is a bug"
)
_STATUSES: Final = {
    200: "Done",
    400: "The request does not fit; the message says where",
    401: "A key is needed",
    404: "No such model or version",
    413: "More rows than are allowed in one request",
    503: "Not ready",
}


def describe(version: str, models: Sequence[str], *, has_keys: bool) -> Schema:
    """Describe the server.

    Args:
        version: of onnxferry.
        models: names of what is served.
        has_keys: everything but health needs a key.

    Returns:
        The document.
    """
    places: dict[str, Schema] = {
        address: {
            method.lower(): _operation(address, operation, has_keys=has_keys)
            for method, operation in methods.items()
        }
        for address, methods in OPERATIONS.items()
    }
    for address, place in places.items():
        if names := re.findall(r"\{(\w+)\}", address):
            place["parameters"] = [_in_path(name, models) for name in names]
    components: Schema = {"schemas": SCHEMAS}
    if has_keys:
        components["securitySchemes"] = {
            "bearer": {"type": "http", "scheme": "bearer"},
            "basic": {"type": "http", "scheme": "basic", "description": "the key is the password"},
            "header": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
        }
    return {
        "openapi": "3.1.1",
        "info": {"title": "onnxferry", "version": version, "description": _DESCRIPTION},
        "paths": places,
        "components": components,
    }


def _in_path(name: str, models: Sequence[str]) -> Schema:
    schema: Schema = {"type": "string", "minLength": 1}
    if name == "model":
        schema["enum"] = list(models)
    return {"name": name, "in": "path", "required": True, "schema": schema}


def _operation(address: str, operation: Operation, *, has_keys: bool) -> Schema:
    answers = {str(status): _answer(status, at) for status, at in operation.answers.items()}
    answers["default"] = {"description": _ALWAYS, "content": _content({JSON: "Error"})}
    found: Schema = {"summary": operation.summary, "responses": answers}
    if operation.parameters:
        found["parameters"] = [{"name": name, **PARAMETERS[name]} for name in operation.parameters]
    if operation.body:
        content = _content(operation.body)
        found["requestBody"] = {"required": operation.needs_body, "content": content}
    if has_keys and not address.startswith(_OPEN):
        found["security"] = [{"bearer": []}, {"basic": []}, {"header": []}]
        answers["401"] = _answer(401, {JSON: "Error"})
    return found


def _answer(status: int, contents: Contents) -> Schema:
    return {"description": _STATUSES[status], "content": _content(contents)}


def _content(contents: Contents) -> Schema:
    """Name the schema of each media type; what is no JSON has none."""
    return {
        kind: {"schema": {"$ref": f"#/components/schemas/{name}"}} if name else {}
        for kind, name in contents.items()
    }
