"""The URLs that a request for an unknown one may have meant."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final
from urllib.parse import quote

from runtime.schema.names import closest_names

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

_MAX_COMPARED: Final = 60  # characters, and
_MAX_MODELS: Final = 64  # names: a wrong URL must stay cheap
_MAX_SUGGESTED: Final = 3
# Words in the URLs of other servers (TensorFlow Serving, KServe v1, TorchServe, MLflow, SageMaker),
# and the routes that do the same here.
_WORDS: Final = (
    (
        ("predict", "invocation", "infer", "score", "classif", "generate"),
        ("/predict", "/v2/models/*/infer"),
    ),
    (("health", "ready", "live", "ping", "status"), ("/v2/health/ready", "/v2/health/live")),
    (("doc", "swagger", "openapi", "schema"), ("/docs", "/openapi.json")),
    (("metric", "prometheus"), ("/metrics",)),
    (("stat",), ("/v2/models/*/stats", "/v2/models/stats")),
    (("model",), ("/v2/models/*", "/v2/repository/index")),
)


def suggest_paths(path: str, routes: Collection[str], models: Sequence[str]) -> list[str]:
    """Return existing paths like an unknown one, best first; ``*`` in a route is any model."""
    asked = path[:_MAX_COMPARED].lower()
    shown = [quote(name, safe="") for name in models[:_MAX_MODELS]]
    names = [name for name in shown if name.lower() in asked][:1] or shown[:1]

    def paths(route: str) -> list[str]:
        return [route.replace("*", name) for name in names] if "*" in route else [route]

    for words, meant in _WORDS:
        if any(word in asked for word in words):
            found = [one for route in meant if route in routes for one in paths(route)]
            return found[:_MAX_SUGGESTED]
    known = [one for route in routes for one in paths(route)]
    return closest_names(asked, known, _MAX_SUGGESTED)
