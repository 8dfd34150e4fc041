"""``GET /openapi.json``: the operations as an OpenAPI 3.1 document.

Source: OpenAPI Specification 3.1.1 (spec.openapis.org/oas/v3.1.1).
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

import msgspec

from runtime.serving.openapi.operations import JSON, OPERATIONS, PARAMETERS, TAGS
from runtime.serving.v2.responses import Error

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from runtime.schema.features import Schema as FeatureSchema
    from runtime.serving.openapi.operations import Contents, Operation

Schema = dict[str, Any]

_DESCRIPTION: Final = (
    "Open Inference Protocol v2 with the extensions binary tensor data, model repository and "
    "statistics; tables at /predict. Every error is an object with `error`."
)
_MAX_EXAMPLES: Final = 20  # models
_PUBLIC: Final = ("/v2/health/", "/ping")
_ANY_ERROR: Final = (
    "The request cannot be read, or exceeds a limit: 400, 405, 408, 413, 415, 417, 431, 501, 503; "
    "or 500, an internal error"
)
_STATUSES: Final = {
    200: "OK",
    400: "The request is invalid; the message names the location",
    401: "An API key is required",
    404: "No such model or version",
    413: "More rows than the limit of a request",
    503: "Not ready",
}
_SECURITY_SCHEMES: Final = {
    "bearer": {"type": "http", "scheme": "bearer"},
    "basic": {"type": "http", "scheme": "basic", "description": "the key is the password"},
    "header": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
}


def build_document(
    version: str, models: Sequence[str], loaded: Mapping[str, FeatureSchema], *, has_keys: bool
) -> Schema:
    """Return the document of a server.

    Args:
        version: of the server.
        models: names of all models.
        loaded: the features of the loaded ones by name, for examples.
        has_keys: all operations but health require a key.

    Returns:
        The document as JSON.
    """
    schemas = _Schemas(loaded)
    paths: dict[str, Schema] = {
        path: {
            method.lower(): _describe_operation(method, path, operation, schemas, has_keys=has_keys)
            for method, operation in methods.items()
        }
        for path, methods in OPERATIONS.items()
    }
    for path, item in paths.items():
        if names := re.findall(r"\{(\w+)\}", path):
            item["parameters"] = [_path_parameter(name, models) for name in names]
    for parameter in paths["/predict"]["post"]["parameters"]:
        if parameter["name"] == "model":
            parameter["required"] = len(models) > 1
            parameter["schema"] = _model_name(models if len(models) > 1 else ("", *models))
    components: Schema = {"schemas": schemas.components}
    if has_keys:
        components["securitySchemes"] = _SECURITY_SCHEMES
    return {
        "openapi": "3.1.1",
        "info": {"title": "onnxferry", "version": version, "description": _DESCRIPTION},
        "servers": [{"url": "."}],  # relative to the document: a proxy may add a prefix
        "tags": [{"name": name} for name in TAGS.values()],
        "paths": paths,
        "components": components,
    }


class _Schemas:
    """JSON Schemas of the types of all bodies, and examples of requests."""

    def __init__(self, loaded: Mapping[str, FeatureSchema]) -> None:
        self._loaded = list(loaded.items())[:_MAX_EXAMPLES]
        operations = [one for methods in OPERATIONS.values() for one in methods.values()]
        contents = [one for each in operations for one in (each.body, *each.responses.values())]
        types = [kind for one in contents if one for kind in one.values() if kind]
        schemas, self.components = msgspec.json.schema_components(
            [Error, *types], ref_template="#/components/schemas/{name}"
        )
        self._schemas = dict(zip([Error, *types], schemas, strict=True))

    def content(self, contents: Contents) -> Schema:
        """Return the schema of each media type; only JSON has one."""
        return {
            media_type: {"schema": self._schemas[kind]} if kind else {}
            for media_type, kind in contents.items()
        }

    def body(self, operation: Operation) -> Schema:
        """Return the schema of each media type of a request, with an example for each model."""
        content = self.content(operation.body or {})
        for name, features in self._loaded:
            for media_type, value in operation.example(features).items():
                examples = content[media_type].setdefault("examples", {})
                examples[name] = {"summary": f"for {name}", "value": value}
        return content


def _path_parameter(name: str, models: Sequence[str]) -> Schema:
    schema: Schema = {"type": "string", "minLength": 1}
    if name == "model":
        schema = _model_name(models)
    return {"name": name, "in": "path", "required": True, "schema": schema}


def _model_name(models: Sequence[str]) -> Schema:
    return {"type": "string", "enum": list(models)}


def _describe_operation(
    method: str, path: str, operation: Operation, schemas: _Schemas, *, has_keys: bool
) -> Schema:
    error = schemas.content({JSON: Error})
    responses: Schema = {
        str(status): {"description": _STATUSES[status], "content": schemas.content(contents)}
        for status, contents in operation.responses.items()
    }
    responses["default"] = {"description": _ANY_ERROR, "content": error}
    found: Schema = {
        "tags": [next(tag for start, tag in TAGS.items() if path.startswith(start))],
        "operationId": re.sub(r"\W+", "_", f"{method.lower()}{path}").strip("_"),
        "summary": operation.summary,
        "responses": responses,
    }
    if operation.parameters:
        found["parameters"] = [{"name": name, **PARAMETERS[name]} for name in operation.parameters]
    if operation.body:
        found["requestBody"] = {
            "required": operation.body_required,
            "content": schemas.body(operation),
        }
    if has_keys and not path.startswith(_PUBLIC):
        found["security"] = [{scheme: []} for scheme in _SECURITY_SCHEMES]
        responses["401"] = {"description": _STATUSES[401], "content": error}
    return found
