"""What each worker has counted, kept for when it dies: a counter that falls reads as a new start.

Whenever counts are told, each worker's are kept in the folder of the workers' sockets. While it is
dead or does not answer, what was told last stands for it; the worker that takes its place goes on
from there. So what is told never falls; what was counted since it was told last is lost. In and
out: answers in Prometheus's text format. No errors: what cannot be kept is not.
"""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING

from msgspec.structs import replace

from runtime.serving.workers.merging import counters_of, merge_metrics

if TYPE_CHECKING:
    from pathlib import Path

    from runtime.serving.http.message import Response


class Memory:
    """The counts of all workers, as they were told last."""

    def __init__(self, folder: Path) -> None:
        """Take the folder that the workers share.

        Args:
            folder: that only this user can enter.
        """
        self._folder = folder

    def take_over(self, number: int) -> None:
        """Begin as a worker: what one before it under its number had counted is added from now on.

        Args:
            number: of the worker.
        """
        with suppress(OSError):  # there was none before, or nobody has asked it
            self._last(number).replace(self._before(number))

    def complete(self, number: int, answer: Response | None, own: Response) -> Response:
        """Add what those before a worker have counted, and keep the sum.

        Args:
            number: of the worker.
            answer: its counts; None where it does not answer.
            own: of the worker that asks, for the head of an answer.

        Returns:
            Its counts with theirs; what was told last where it does not answer.
        """
        before = _read(self._before(number))
        if answer is None:
            return replace(own, body=(_read(self._last(number)) or before,))
        if before:
            answer = merge_metrics([answer, replace(own, body=(before,))])
        with suppress(OSError):
            self._keep(number, counters_of(answer))
        return answer

    def _keep(self, number: int, text: bytes) -> None:
        path = self._folder / f"{number}.{os.getpid()}"
        path.write_bytes(text)
        path.replace(self._last(number))

    def _last(self, number: int) -> Path:
        return self._folder / f"{number}.last"

    def _before(self, number: int) -> Path:
        return self._folder / f"{number}.before"


def _read(path: Path) -> bytes:
    """Read what was kept; nothing where there is nothing."""
    try:
        return path.read_bytes()
    except OSError:
        return b""
