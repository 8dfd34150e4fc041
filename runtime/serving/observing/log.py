"""The log: one JSON object a line, on standard error.

At the default level it tells what the server does, and its own faults; one line a request at
``debug``. Neither header fields nor bodies are ever in it, but for the ids that a client sends
to find its request again.
"""

from __future__ import annotations

import time
import traceback
from typing import get_args

from runtime.choices import LogLevel
from runtime.terminal import process

_ORDER = get_args(LogLevel)


class Log:
    """Writes what is at least as grave as its level."""

    def __init__(self, level: LogLevel = "info") -> None:
        """Choose what is written.

        Args:
            level: the least that is written.
        """
        self._least = _ORDER.index(level)
        self.tells_requests = level == "debug"

    def tell(self, level: LogLevel, event: str, **facts: object) -> None:
        """Write a line.

        Args:
            level: how grave it is.
            event: what happened, in a word or two.
            **facts: numbers and texts.
        """
        if _ORDER.index(level) < self._least:
            return
        now = time.time()
        stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(now)) + f".{now % 1:.3f}"[2:] + "Z"
        process.log(process.compact_json({"time": stamp, "level": level, "event": event, **facts}))

    def tell_bug(self, error: Exception) -> None:
        """Write an error that is a bug of ours, with all that helps to find it."""
        text = "".join(traceback.format_exception(error))
        self.tell("error", "bug", error=f"{type(error).__name__}: {error}", traceback=text)
