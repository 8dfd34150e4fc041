"""Ids by which a client finds its request again: ``x-request-id`` and W3C's ``traceparent``.

Source: Trace Context, W3C Recommendation (w3.org/TR/trace-context), section 3.2. What a client
sends is given back with its answer and stands in the log; what is malformed is passed over.
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
    from runtime.serving.http.message import Header, Reply, Request, Response
    from runtime.serving.observing.log import Log

REQUEST_ID: Final = b"x-request-id"
TRACE: Final = b"traceparent"
_REQUEST_ID: Final = re.compile(rb"[!-~]{1,128}")
_TRACE: Final = re.compile(rb"[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")
_ERROR: Final = 500


class Tracer:
    """Gives back the ids of requests, and logs them where the log tells each."""

    def __init__(self, log: Log) -> None:
        """Begin to count.

        Args:
            log: told of each answer where it wants to be, and of each that is our fault.
        """
        self._log = log
        self._numbers = itertools.count(1)
        self._prefix = os.urandom(4).hex()

    def concerns(self, request: Request) -> bool:
        """Tell whether a request has ids, or is to be logged."""
        headers = request.headers
        return self._log.tells_requests or TRACE in headers or REQUEST_ID in headers

    def follow(self, request: Request, reply: Reply) -> Reply:
        """Have a request's ids given back and its answer logged.

        Args:
            request: that has ids, or is to be logged.
            reply: takes its answer.

        Returns:
            What takes its answer instead.
        """
        ids = self._ids(request)

        def told(response: Response) -> None:
            reply(replace(response, headers=(*response.headers, *ids)))
            self._tell(request, response, ids)

        return told

    def _ids(self, request: Request) -> tuple[Header, ...]:
        given = request.headers.get(REQUEST_ID, b"")
        trace = request.headers.get(TRACE, b"")
        known = given if _REQUEST_ID.fullmatch(given) else self._new_id()
        ids: tuple[Header, ...] = ((REQUEST_ID, known),)
        return (*ids, (TRACE, trace)) if _TRACE.fullmatch(trace) else ids

    def _new_id(self) -> bytes:
        return f"{self._prefix}-{next(self._numbers):x}".encode()

    def _tell(self, request: Request, response: Response, ids: tuple[Header, ...]) -> None:
        level: LogLevel = "error" if response.status == _ERROR else "debug"
        if level == "debug" and not self._log.tells_requests:
            return
        self._log.tell(
            level,
            "request",
            method=request.method,
            path=request.target.partition("?")[0],
            status=response.status,
            ms=round((time.perf_counter_ns() - request.arrived) / 1e6, 3),
            **{name.decode().replace("-", "_"): value.decode() for name, value in ids},
        )
