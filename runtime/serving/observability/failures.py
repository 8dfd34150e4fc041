"""Failed requests in the log: counts at most once a minute, and each of the server's own faults.

What is written is bounded whatever clients send: the reasons are a fixed vocabulary, and the
faults that are written in full are limited. Values of requests are never part of it.
"""

from __future__ import annotations

import time
from collections import Counter
from typing import TYPE_CHECKING, Final

import msgspec

from runtime.printable import truncate

if TYPE_CHECKING:
    from runtime.serving.http.messages import Request, Response
    from runtime.serving.observability.log import Logger

_INTERVAL_S: Final = 60.0
_SERVER_ERROR: Final = 500
_MAX_TEXT: Final = 300  # characters of a path or message
_IDS: Final = (b"x-request-id", b"traceparent")


class FailureLog:
    """Counts the failed requests of one server; for the event loop's thread."""

    def __init__(self, logger: Logger) -> None:
        """Write to ``logger``."""
        self._logger = logger
        self._counts: Counter[tuple[int, str]] = Counter()
        self._since = 0.0  # seconds of ``time.monotonic``: when the first one was counted
        self._next = 0.0  # the next record of counts, not before

    def record(self, response: Response, request: Request | None = None) -> None:
        """Count a response of 400 or more; log it, too, where it is 500 or more.

        ``request`` is None where none could be parsed.
        """
        if not self._counts:
            self._since = time.monotonic()
        self._counts[response.status, response.reason] += 1
        if response.status >= _SERVER_ERROR:
            self._logger.log_limited("error", "request failed", lambda: _fields(response, request))

    def flush_if_due(self) -> None:
        """Write the counts, the first ones at once and later ones a minute after the last."""
        if self._counts and time.monotonic() >= self._next:
            self.flush()

    def flush(self) -> None:
        """Write the counts since the last record, if there are any."""
        if not self._counts:
            return
        now = time.monotonic()
        counts, self._counts = self._counts, Counter()
        self._next = now + _INTERVAL_S
        self._logger.log(
            "info",
            "failed requests",
            seconds=round(now - self._since, 1),
            total=counts.total(),
            counts=[
                {"status": status, "reason": reason, "count": count}
                for (status, reason), count in sorted(counts.items())
            ],
        )


def _fields(response: Response, request: Request | None) -> dict[str, object]:
    found: dict[str, object] = {"status": response.status, "reason": response.reason}
    if request is not None:
        path = request.target.partition("?")[0]
        found |= {
            "method": truncate(request.method, _MAX_TEXT),
            "path": truncate(path, _MAX_TEXT),
            "ms": round((time.perf_counter_ns() - request.received_ns) / 1e6, 3),
        }
    message = msgspec.json.decode(b"".join(response.body)).get("error", "")
    ids = {
        name.decode().replace("-", "_"): value.decode()
        for name, value in response.headers
        if name in _IDS
    }
    return {**found, "error": truncate(message, _MAX_TEXT), **ids}
