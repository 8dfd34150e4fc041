"""The log: one JSON object a line, on standard error.

Requests are logged at ``debug`` only, without header fields and bodies, request ids excepted.
"""

from __future__ import annotations

import json
import sys
import time
import traceback
from contextlib import suppress
from typing import get_args

from runtime.choices import LogLevel

_ORDER = get_args(LogLevel)


class Logger:
    """Writes records of at least its level.

    Attributes:
        logs_requests: whether each request is logged.
    """

    def __init__(self, level: LogLevel = "info") -> None:
        """Take the minimum level."""
        self._threshold = _ORDER.index(level)
        self.logs_requests = level == "debug"

    def log(self, level: LogLevel, event: str, **fields: object) -> None:
        """Write a record."""
        if _ORDER.index(level) < self._threshold:
            return
        now = time.time()
        stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(now)) + f".{now % 1:.3f}"[2:] + "Z"
        record = {"time": stamp, "level": level, "event": event, **fields}
        write_stderr(json.dumps(record, separators=(",", ":")))

    def internal_error(self, error: Exception) -> None:
        """Write a bug with its traceback."""
        text = "".join(traceback.format_exception(error))
        self.log(
            "error", "internal error", error=f"{type(error).__name__}: {error}", traceback=text
        )


def write_stderr(line: str) -> None:
    """Write a line in one write, so that lines of several processes stay apart."""
    with suppress(OSError):  # nobody reads
        print(f"{line}\n", end="", file=sys.stderr, flush=True)  # noqa: T201 - the server's log
