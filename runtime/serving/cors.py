"""Cross-origin requests of browsers (CORS, the Fetch standard at fetch.spec.whatwg.org).

Without allowed origins no response has a header field of CORS, and browsers keep pages of other
origins from reading it. Keys are sent in header fields, so requests carry no credentials of CORS.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from msgspec.structs import replace

from runtime.errors import UsageError
from runtime.serving.http.messages import Response, error_response
from runtime.surfaces import option, server_option

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from runtime.serving.http.messages import Header, Reply, Request

ANY: Final = "*"
_ORIGIN: Final = b"origin"
_REQUESTED_METHOD: Final = b"access-control-request-method"
_PATTERN: Final = re.compile(r"[a-z][a-z0-9+.-]*://[^/\s?#@,*]+")
_DEFAULT_PORTS: Final = {"http": ":80", "https": ":443"}
_EXPOSED: Final = (
    b"access-control-expose-headers",
    b"inference-header-content-length, retry-after, traceparent, x-request-id",
)
_VARY: Final = (b"vary", b"origin")
_PREFLIGHT: Final = (
    (b"access-control-allow-methods", b"GET, HEAD, POST"),
    (
        b"access-control-allow-headers",
        (
            b"authorization, content-encoding, content-type, inference-header-content-length, "
            b"traceparent, tracestate, x-api-key, x-request-id"
        ),
    ),
    (b"access-control-max-age", b"600"),  # seconds
)


def parse_origins(texts: Sequence[str]) -> frozenset[str]:
    """Return origins as browsers send them; raises ``UsageError``."""
    return frozenset(map(_parse_origin, texts))


def _parse_origin(text: str) -> str:
    origin = text.strip().lower()
    if origin == ANY:
        return origin
    if not _PATTERN.fullmatch(origin):
        raise UsageError(
            f"{option('cors_origin', text)} is no origin: give scheme, host and port of the page "
            "without a path, such as https://app.example.com, or * for all"
        )
    return origin.removesuffix(_DEFAULT_PORTS.get(origin.partition(":")[0], "/"))


class Cors:
    """Lets pages of allowed origins send requests and read the responses."""

    def __init__(self, origins: frozenset[str] = frozenset()) -> None:
        """Allow origins, as ``parse_origins`` returns them; none by default."""
        self.is_enabled = bool(origins)
        self._any = ANY in origins
        self._origins = frozenset(origin.encode() for origin in origins)

    def allows(self, headers: Mapping[bytes, bytes]) -> bool:
        """Return whether a request is of a page whose origin is allowed."""
        origin = headers.get(_ORIGIN)
        return origin is not None and (self._any or origin in self._origins)

    def preflight(self, request: Request) -> Response | None:
        """Return the response to a preflight request; None for any other request."""
        if request.method != "OPTIONS" or _REQUESTED_METHOD not in request.headers:
            return None
        if self.allows(request.headers):
            return Response(headers=(*self.fields(request.headers), *_PREFLIGHT))
        origin = request.headers.get(_ORIGIN, b"").decode("latin-1")
        message = f"the origin {origin!r} is not allowed; see {server_option('cors_origin')}"
        return error_response(403, message, () if self._any else (_VARY,), "cross-site")

    def wrap(self, request: Request, reply: Reply) -> Reply:
        """Return a reply that adds the header fields of CORS."""
        fields = self.fields(request.headers)

        def with_fields(response: Response) -> None:
            reply(replace(response, headers=(*response.headers, *fields)))

        return with_fields

    def fields(self, headers: Mapping[bytes, bytes]) -> tuple[Header, ...]:
        """Return the fields of a response to a request, whose header fields these are.

        Caches must keep responses to several origins apart.
        """
        if not self.is_enabled:
            return ()
        vary = () if self._any else (_VARY,)
        if not self.allows(headers):
            return vary
        allowed = ANY.encode() if self._any else headers[_ORIGIN]
        return ((b"access-control-allow-origin", allowed), _EXPOSED, *vary)
