"""Request ids: ``x-request-id`` and W3C's ``traceparent``, echoed in the response and logged.

Source: Trace Context, W3C Recommendation (w3.org/TR/trace-context), section 3.2. Malformed ids are
ignored.
"""

from __future__ import annotations

import itertools
import os
import re
import time
from typing import TYPE_CHECKING, Final

from msgspec.structs import replace

if TYPE_CHECKING:
    from runtime.choices import LogLevel
    from runtime.serving.http.messages import Header, Reply, Request, Response
    from runtime.serving.observability.log import Logger

REQUEST_ID: Final = b"x-request-id"
TRACE: Final = b"traceparent"
_REQUEST_ID: Final = re.compile(rb"[!-~]{1,128}")
_TRACE: Final = re.compile(rb"[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")
_ERROR: Final = 500


class Tracer:
    """Echoes request ids, and logs requests at ``debug`` and internal errors always."""

    def __init__(self, logger: Logger) -> None:
        """Take the log."""
        self._logger = logger
        self._numbers = itertools.count(1)
        self._prefix = os.urandom(4).hex()

    def applies_to(self, request: Request) -> bool:
        """Return whether a request has ids or is logged."""
        headers = request.headers
        return self._logger.logs_requests or TRACE in headers or REQUEST_ID in headers

    def wrap(self, request: Request, reply: Reply) -> Reply:
        """Return a reply that adds the request's ids and logs the response."""
        ids = self._ids(request)

        def traced(response: Response) -> None:
            reply(replace(response, headers=(*response.headers, *ids)))
            self._log(request, response, ids)

        return traced

    def _ids(self, request: Request) -> tuple[Header, ...]:
        given = request.headers.get(REQUEST_ID, b"")
        trace = request.headers.get(TRACE, b"")
        request_id = given if _REQUEST_ID.fullmatch(given) else self._new_id()
        ids: tuple[Header, ...] = ((REQUEST_ID, request_id),)
        return (*ids, (TRACE, trace)) if _TRACE.fullmatch(trace) else ids

    def _new_id(self) -> bytes:
        return f"{self._prefix}-{next(self._numbers):x}".encode()

    def _log(self, request: Request, response: Response, ids: tuple[Header, ...]) -> None:
        level: LogLevel = "error" if response.status == _ERROR else "debug"
        if level == "debug" and not self._logger.logs_requests:
            return
        self._logger.log(
            level,
            "request",
            method=request.method,
            path=request.target.partition("?")[0],
            status=response.status,
            ms=round((time.perf_counter_ns() - request.received_ns) / 1e6, 3),
            **{name.decode().replace("-", "_"): value.decode() for name, value in ids},
        )
