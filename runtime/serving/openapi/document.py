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

    from runtime.model import LoadedModel
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
    version: str, models: Sequence[str], loaded: Mapping[str, LoadedModel], *, has_keys: bool
) -> Schema:
    """Return the document of a server.

    Args:
        version: of the server.
        models: names of all models.
        loaded: the loaded ones by name, for examples.
        has_keys: all operations but health require a key.

    Returns:
        The document as JSON.
    """
    describer = _Describer(models, loaded, has_keys=has_keys)
    components: Schema = {"schemas": describer.components}
    if has_keys:
        components["securitySchemes"] = _SECURITY_SCHEMES
    return {
        "openapi": "3.1.1",
        "info": {"title": "onnxferry", "version": version, "description": _DESCRIPTION},
        "servers": [{"url": "."}],  # relative to the document: a proxy may add a prefix
        "tags": [{"name": name} for name in TAGS.values()],
        "paths": {path: describer.path_item(path) for path in OPERATIONS},
        "components": components,
    }


class _Describer:
    """Describes operations of a server, with examples for its models."""

    def __init__(
        self, models: Sequence[str], loaded: Mapping[str, LoadedModel], *, has_keys: bool
    ) -> None:
        self._models, self._has_keys = models, has_keys
        self._loaded = dict(list(loaded.items())[:_MAX_EXAMPLES])
        operations = [one for methods in OPERATIONS.values() for one in methods.values()]
        contents = [one for each in operations for one in (each.body, *each.responses.values())]
        types = [kind for one in contents if one for kind in one.values() if kind]
        schemas, self.components = msgspec.json.schema_components(
            [Error, *types], ref_template="#/components/schemas/{name}"
        )
        self._schemas = dict(zip([Error, *types], schemas, strict=True))

    def path_item(self, path: str) -> Schema:
        """Describe all methods of a path."""
        item: Schema = {
            method.lower(): self._operation(method.lower(), path, operation)
            for method, operation in OPERATIONS[path].items()
        }
        if names := re.findall(r"\{(\w+)\}", path):
            item["parameters"] = [self._path_parameter(name) for name in names]
        return item

    def _operation(self, method: str, path: str, operation: Operation) -> Schema:
        error = self._content({JSON: Error})
        responses: Schema = {
            str(status): {"description": _STATUSES[status], "content": self._content(contents)}
            for status, contents in operation.responses.items()
        }
        responses["default"] = {"description": _ANY_ERROR, "content": error}
        found: Schema = {
            "tags": [next(tag for start, tag in TAGS.items() if path.startswith(start))],
            "operationId": re.sub(r"\W+", "_", f"{method}{path}").strip("_"),
            "summary": operation.summary,
            "responses": responses,
        }
        if operation.parameters:
            found["parameters"] = [self._parameter(name) for name in operation.parameters]
        if operation.body:
            content = self._body(operation)
            found["requestBody"] = {"required": operation.body_required, "content": content}
        if self._has_keys and not path.startswith(_PUBLIC):
            found["security"] = [{scheme: []} for scheme in _SECURITY_SCHEMES]
            responses["401"] = {"description": _STATUSES[401], "content": error}
        return found

    def _path_parameter(self, name: str) -> Schema:
        found: Schema = {"name": name, "in": "path", "required": True}
        if name == "model":
            return found | {"schema": {"type": "string", "enum": list(self._models)}}
        versions = {
            name: {"value": model.manifest.model.version} for name, model in self._loaded.items()
        }
        return found | {"schema": {"type": "string", "minLength": 1}, "examples": versions}

    def _parameter(self, name: str) -> Schema:
        found = {"name": name, **PARAMETERS[name]}
        if name == "model":
            is_required = len(self._models) > 1
            names = [*self._models] if is_required else ["", *self._models]
            found |= {"required": is_required, "schema": {"type": "string", "enum": names}}
        return found

    def _content(self, contents: Contents) -> Schema:
        """Return the schema of each media type; only JSON has one."""
        return {
            media_type: {"schema": self._schemas[kind]} if kind else {}
            for media_type, kind in contents.items()
        }

    def _body(self, operation: Operation) -> Schema:
        """Return the schema of each media type of a request, with an example for each model."""
        content = self._content(operation.body or {})
        for name, model in self._loaded.items():
            for media_type, value in operation.example(model.schema).items():
                content[media_type].setdefault("examples", {})[name] = {"value": value}
        return content
