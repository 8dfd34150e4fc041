"""Routing of requests to handlers by path and method."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final
from urllib.parse import unquote

from runtime.printable import truncate
from runtime.serving.http.messages import Reply, Request, Response, error_response
from runtime.value import Value

_MODEL: Final = ("v2", "models")
_REPOSITORY: Final = ("v2", "repository", "models")
_MAX_CACHED: Final = 1024  # paths
_MAX_LENGTH: Final = 200  # characters of a path in the cache or a message
_MAX_METHOD: Final = 20
_NOT_FOUND: Final = 404
_NOT_ALLOWED: Final = 405


class Call(Value, frozen=True, gc=False):
    """A routed request.

    Attributes:
        request: as received.
        name: of a model; empty where the path has none.
        version: of the model; None where the path has none.
        query: the query string.
    """

    request: Request
    name: str
    version: str | None
    query: str


Handler = Callable[[Call, Reply], None]
Routes = Mapping[str, Mapping[str, Handler]]


class Match(Value, frozen=True):
    """The route of a path, its handlers by method, and the path's parameters."""

    route: str
    handlers: Mapping[str, Handler]
    name: str
    version: str | None


class Router:
    """Finds handlers, and caches the routes of paths.

    In a route ``*`` stands for a model's name, optionally followed by ``/versions/VERSION``.
    """

    def __init__(self, routes: Routes, models: Callable[[], Sequence[str]] = list) -> None:
        """Route by the table ``routes``; ``models`` are names for the message about others."""
        self._routes, self._models = routes, models
        self._cache: dict[str, Match] = {}

    def find(self, request: Request) -> tuple[Handler, Call] | Response:
        """Return the handler of a request and its call, or a 404 or 405."""
        path, _, query = request.target.partition("?")
        match = self.match(path)
        if match is None:
            return self._not_found(path)
        method = "GET" if request.method == "HEAD" else request.method
        handler = match.handlers.get(method)
        if handler is None:
            allowed = ", ".join(match.handlers)
            return error_response(
                _NOT_ALLOWED,
                f"{truncate(request.method, _MAX_METHOD)} is not allowed at "
                f"{truncate(path, _MAX_LENGTH)}; use {allowed}",
                ((b"allow", allowed.encode()),),
                "method not allowed",
            )
        return handler, Call(request, match.name, match.version, query)

    def _not_found(self, path: str) -> Response:
        from runtime.serving.suggestions import suggest_paths

        near = suggest_paths(path, self._routes, self._models())
        meant = f"did you mean {' or '.join(near)}? " if near else ""
        shown = repr(truncate(path, _MAX_LENGTH))
        return error_response(
            _NOT_FOUND,
            f"there is no {shown}; {meant}/openapi.json lists every URL",
            reason="unknown URL",
        )

    def match(self, path: str) -> Match | None:
        """Return the route of a path; None where there is none."""
        return self._cache.get(path) or self._match(path)

    def _match(self, path: str) -> Match | None:
        route, name, version = _parse(path)
        handlers = self._routes.get(route)
        if handlers is None:
            return None
        match = Match(route, handlers, name, version)
        if len(path) <= _MAX_LENGTH:  # bounds the memory of the cache
            if len(self._cache) >= _MAX_CACHED:
                self._cache.clear()
            self._cache[path] = match
        return match


def _parse(path: str) -> tuple[str, str, str | None]:  # route, name, version
    """Split a path into its route and parameters."""
    if "://" in path and not path.startswith("/"):  # absolute form: RFC 9112, 3.2.2
        path = "/" + path.partition("://")[2].partition("/")[2]
    parts = tuple(path.strip("/").split("/"))
    if parts[:2] == _MODEL and len(parts) > 2 and parts != (*_MODEL, "stats"):  # noqa: PLR2004 - the name's position
        name, rest = unquote(parts[2]), parts[3:]
        version = None
        if rest[:1] == ("versions",) and len(rest) > 1:
            version, rest = unquote(rest[1]), rest[2:]
        return "/".join(("", *_MODEL, "*", *rest)), name, version
    if parts[:3] == _REPOSITORY and len(parts) > 3:  # noqa: PLR2004 - likewise
        return "/".join(("", *_REPOSITORY, "*", *parts[4:])), unquote(parts[3]), None
    return "/" + "/".join(parts), "", None
