"""An engine without processes: what real ones call in their workers."""

from __future__ import annotations

import pickle
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar

from runtime.engines.worker import Worker
from runtime.tables.division import scan_window

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from runtime.engines.worker import Job
    from runtime.io.destinations import Part
    from runtime.tables.division import Window, WindowScan

Value = TypeVar("Value")


class InProcess:
    """Scores and scans one after the other, the last first; everything travels pickled."""

    @contextmanager
    def connect(self) -> Iterator[None]:
        """Do nothing."""
        yield

    def scan(self, windows: Sequence[Window]) -> list[WindowScan]:
        """Scan windows."""
        found = [scan_window(_travel(each)) for each in reversed(windows)]
        return found[::-1]

    def score(self, job: Job, indices: Sequence[int]) -> Iterator[Part]:
        """Score tables or spans."""
        worker = Worker(_travel(job))
        yield from map(worker.score, reversed(indices))


def _travel(value: Value) -> Value:
    copy: Value = pickle.loads(pickle.dumps(value))  # noqa: S301 - our own
    return copy
