"""Which handler answers which address.

In: a method and a target. Out: a ``Match``, or the refusal that is the answer.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final
from urllib.parse import unquote

from runtime.serving.http.message import Reply, Request, Response, refusal
from runtime.value import Value

_MODEL: Final = ("v2", "models")
_STORED: Final = ("v2", "repository", "models")
_MOST_KNOWN: Final = 1024  # targets whose match is kept
_MOST_SHOWN: Final = 200  # characters of an address that are kept or shown
_NOT_FOUND: Final = 404
_NOT_ALLOWED: Final = 405


class Call(Value, frozen=True, gc=False):
    """A request and what its address names.

    Attributes:
        request: as it came.
        name: of a model; empty where the address names none.
        version: of the model; None where the address names none.
        query: what follows the question mark.
    """

    request: Request
    name: str
    version: str | None
    query: str


Handler = Callable[[Call, Reply], None]
Routes = Mapping[str, Mapping[str, Handler]]


class Match(Value, frozen=True):
    """The handlers of an address by method, and the names in it."""

    handlers: Mapping[str, Handler]
    name: str
    version: str | None


class Router:
    """Finds handlers; a target that was found once is found at once."""

    def __init__(self, routes: Routes) -> None:
        """Take the table.

        Args:
            routes: handlers by method, by address. In an address ``*`` stands for a model's name,
                which ``/versions/…`` may follow.
        """
        self._routes = routes
        self._known: dict[str, Match] = {}

    def find(self, request: Request) -> tuple[Handler, Call] | Response:
        """Find who answers a request.

        Args:
            request: as it came.

        Returns:
            The handler and what it needs; else 404 or 405.
        """
        path, _, query = request.target.partition("?")
        match = self._known.get(path) or self._match(path)
        if match is None:
            return refusal(_NOT_FOUND, f"no address {path[:_MOST_SHOWN]!r} here; see /v2")
        method = "GET" if request.method == "HEAD" else request.method
        handler = match.handlers.get(method)
        if handler is None:
            allowed = ", ".join(match.handlers)
            return refusal(
                _NOT_ALLOWED,
                f"{request.method} is not allowed here; use {allowed}",
                ((b"allow", allowed.encode()),),
            )
        return handler, Call(request, match.name, match.version, query)

    def _match(self, path: str) -> Match | None:
        address, name, version = _read(path)
        handlers = self._routes.get(address)
        if handlers is None:
            return None
        match = Match(handlers, name, version)
        if len(path) <= _MOST_SHOWN:  # what is kept is bounded, whoever asks for what
            if len(self._known) >= _MOST_KNOWN:
                self._known.clear()
            self._known[path] = match
        return match


def _read(path: str) -> tuple[str, str, str | None]:  # address, name, version
    """Take the names out of a path."""
    if "://" in path and not path.startswith("/"):  # a proxy's way to ask: RFC 9112, 3.2.2
        path = "/" + path.partition("://")[2].partition("/")[2]
    parts = tuple(path.strip("/").split("/"))
    if parts[:2] == _MODEL and len(parts) > 2 and parts != (*_MODEL, "stats"):  # noqa: PLR2004 - the name's place
        name, rest = unquote(parts[2]), parts[3:]
        version = None
        if rest[:1] == ("versions",) and len(rest) > 1:
            version, rest = unquote(rest[1]), rest[2:]
        return "/".join(("", *_MODEL, "*", *rest)), name, version
    if parts[:3] == _STORED and len(parts) > 3:  # noqa: PLR2004 - likewise
        return "/".join(("", *_STORED, "*", *parts[4:])), unquote(parts[3]), None
    return "/" + "/".join(parts), "", None
