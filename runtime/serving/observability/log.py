"""The log, one JSON object a line on stderr, and the ids that connect it with requests."""

from __future__ import annotations

import itertools
import json
import os
import re
import sys
import time
import traceback
from contextlib import suppress
from typing import TYPE_CHECKING, Final, get_args

from msgspec.structs import replace

from runtime.choices import LogLevel
from runtime.wrapping import wrap_for

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from runtime.serving.http.messages import Header, Reply, Request, Response

OUTPUT: Final = "output"  # the event of what libraries write
REQUEST_ID: Final = b"x-request-id"
TRACE: Final = b"traceparent"
_REQUEST_ID: Final = re.compile(rb"[!-~]{1,128}")
_TRACE: Final = re.compile(rb"[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")
_LEVELS: Final = get_args(LogLevel)
_MINUTE_S: Final = 60.0
_MAX_A_MINUTE: Final = 20  # records of one event that clients may cause
_MAX_OUTPUT_A_MINUTE: Final = 200  # likewise, of the event ``output``, which are lines


class Logger:
    """Writes records of at least its level.

    Attributes:
        logs_requests: whether each request is logged.
    """

    def __init__(self, level: LogLevel = "info", worker: int | None = None) -> None:
        """Log records of at least ``level``; those of a worker have its number."""
        self._threshold = _LEVELS.index(level)
        self.logs_requests = level == "debug"
        self._worker = {} if worker is None else {"worker": worker}
        self._limits: dict[str, _Limit] = {}  # by event

    def log(self, level: LogLevel, event: str, **fields: object) -> None:
        """Write a record."""
        if _LEVELS.index(level) >= self._threshold:
            _write_record(level, event, {**self._worker, **fields})

    def log_limited(
        self, level: LogLevel, event: str, fields: Callable[[], Mapping[str, object]]
    ) -> None:
        """Write a record of an event that clients may cause, so many a minute.

        The next one that is written has the number of those ``left_out``.
        """
        limit = self._limits.get(event)
        if limit is None:
            allowed = _MAX_OUTPUT_A_MINUTE if event == OUTPUT else _MAX_A_MINUTE
            limit = self._limits[event] = _Limit(allowed)
        if limit.admit():
            left_out = limit.take_left_out()
            more = {"left_out": left_out} if left_out else {}
            self.log(level, event, **fields(), **more)

    def log_left_out(self) -> None:
        """Write how many records were left out since the last one of each event."""
        for event, limit in self._limits.items():
            if left_out := limit.take_left_out():
                self.log("info", event, left_out=left_out)

    def internal_error(self, error: Exception) -> None:
        """Write a bug with its traceback."""
        self.log_limited(
            "error",
            "internal error",
            lambda: {
                "error": f"{type(error).__name__}: {error}",
                "traceback": "".join(traceback.format_exception(error)),
            },
        )


class _Limit:
    """A number of records a minute."""

    def __init__(self, allowed: int) -> None:
        self._allowed = allowed
        self._until, self._written, self._left_out = 0.0, 0, 0

    def admit(self) -> bool:
        """Return whether one more may be written; count it otherwise."""
        now = time.monotonic()
        if now >= self._until:
            self._until, self._written = now + _MINUTE_S, 0
        if self._written < self._allowed:
            self._written += 1
            return True
        self._left_out += 1
        return False

    def take_left_out(self) -> int:
        """Return how many were left out since the last call."""
        left_out, self._left_out = self._left_out, 0
        return left_out


def announce(line: str) -> None:
    """Write the startup line, at any level: as it is on a terminal, else as a record."""
    if sys.stderr.isatty():
        _write_stderr(wrap_for(sys.stderr, line))
    else:
        _write_record("info", "serving", {"text": line})


def _write_record(level: LogLevel, event: str, fields: Mapping[str, object]) -> None:
    now = time.time()
    stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(now)) + f".{now % 1:.3f}"[2:] + "Z"
    record = {"time": stamp, "level": level, "event": event, **fields}
    _write_stderr(json.dumps(record, separators=(",", ":")))


def _write_stderr(line: str) -> None:
    """Write a line in one write, so that lines of several processes do not mix."""
    with suppress(OSError):  # stderr is closed
        print(f"{line}\n", end="", file=sys.stderr, flush=True)  # noqa: T201 - the server's log


class Tracer:
    """Echoes request ids, and logs requests at ``debug``."""

    def __init__(self, logger: Logger) -> None:
        """Log to ``logger``."""
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
        sent = request.headers.get(REQUEST_ID, b"")
        trace = request.headers.get(TRACE, b"")
        request_id = sent if _REQUEST_ID.fullmatch(sent) else self._new_id()
        ids: tuple[Header, ...] = ((REQUEST_ID, request_id),)
        return (*ids, (TRACE, trace)) if _TRACE.fullmatch(trace) else ids

    def _new_id(self) -> bytes:
        return f"{self._prefix}-{next(self._numbers):x}".encode()

    def _log(self, request: Request, response: Response, ids: tuple[Header, ...]) -> None:
        if not self._logger.logs_requests:
            return
        self._logger.log(
            "debug",
            "request",
            method=request.method,
            path=request.target.partition("?")[0],
            status=response.status,
            ms=round((time.perf_counter_ns() - request.received_ns) / 1e6, 3),
            **{name.decode().replace("-", "_"): value.decode() for name, value in ids},
        )
