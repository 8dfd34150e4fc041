"""Sending in a thread of its own: whoever measures never waits for a collector.

What waits to be sent is bounded. What could not be sent is counted, and told at most once a minute.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from typing import TYPE_CHECKING, Final, Protocol

from runtime.telemetry.settings import shown_url

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from runtime.telemetry.readings import Reading
    from runtime.telemetry.settings import TelemetrySettings
    from runtime.telemetry.spans import Span

_INTERVAL_S: Final = 60.0
_ABORT_S: Final = 0.5  # for an export that is aborted to return
_FULL: Final = "more spans than are sent; raise OTEL_BSP_MAX_QUEUE_SIZE, or sample"


class Sender(Protocol):
    """Sends to a collector, in the thread that calls it."""

    def send_spans(self, spans: Sequence[Span]) -> str:
        """Send spans; return why it failed, empty when they were delivered."""

    def send_metrics(self, readings: Sequence[Reading]) -> str:
        """Send metrics; likewise."""

    def abort(self) -> None:
        """End what another thread is sending, and send nothing more."""


class Exporter:
    """Sends spans and metrics in the background, from ``start`` until ``stop``."""

    def __init__(
        self,
        settings: TelemetrySettings,
        sender: Sender,
        report: Callable[[dict[str, object]], None],
    ) -> None:
        """Send with ``sender``; ``report`` gets the fields of a record of what was not delivered.

        It is called in the thread that sends.
        """
        self._settings, self._sender = settings, sender
        self._losses = Losses(settings, report)
        self._spans: deque[Span] = deque()
        self._metrics: Sequence[Reading] | None = None
        self._wake = threading.Event()
        self._stopping = False
        self._sending = 0  # spans
        self._late = ""  # why sending was aborted
        self._last_report = threading.Lock()  # is never released: one thread alone makes it
        self._thread = threading.Thread(target=self._run, name="telemetry", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    @property
    def pending(self) -> int:
        """The number of spans that wait or are being sent."""
        return self._sending + len(self._spans)

    def put(self, span: Span) -> None:
        """Queue a span; one too many is dropped and counted."""
        size = len(self._spans)
        if size >= self._settings.queue:
            self._losses.overflowed += 1
            return
        self._spans.append(span)
        if size + 1 == self._settings.batch:
            self._wake.set()

    def put_metrics(self, readings: Sequence[Reading]) -> None:
        """Send metrics; they are cumulative, so earlier ones that wait are replaced."""
        self._metrics = readings
        self._wake.set()

    def stop(self, timeout_s: float) -> None:
        """Send what waits, for at most ``timeout_s`` seconds, and end the thread."""
        self._stopping = True
        self._wake.set()
        self._thread.join(timeout_s)
        if self._thread.is_alive():
            self._late = f"no answer in {timeout_s:g} s"
            self._sender.abort()
            self._thread.join(_ABORT_S)
        # In a call that cannot be aborted, the thread dies with the process.
        if self._thread.is_alive() and self._last_report.acquire(blocking=False):
            self._losses.add_spans(self.pending, self._late)
            self._losses.add_metrics(self._late if self._metrics else "")
            self._losses.tell()

    def _run(self) -> None:
        while not self._stopping:
            self._wake.wait(self._settings.delay_s)
            self._wake.clear()
            self._send()
        self._send()  # what came meanwhile
        self._losses.abandon(len(self._spans))
        self._sender.abort()
        if self._last_report.acquire(blocking=False):
            self._losses.tell()

    def _send(self) -> None:
        """Send what waits; after a failure the other spans wait for the next time."""
        if (metrics := self._metrics) is not None:
            self._losses.add_metrics(self._sender.send_metrics(metrics))
            if self._metrics is metrics:
                self._metrics = None
        spans, reason = self._spans, ""
        while spans and not reason:
            self._sending = min(len(spans), self._settings.batch)
            taken = [spans.popleft() for _ in range(self._sending)]
            reason = self._sender.send_spans(taken)
            self._losses.add_spans(len(taken), reason and (self._late or reason))
        if not self._stopping:  # the end reports once
            self._losses.tell_if_due()
        self._sending = 0


class Losses:
    """Counts what was not delivered.

    Attributes:
        overflowed: spans that found the queue full; written by the thread that measures.
    """

    def __init__(
        self, settings: TelemetrySettings, report: Callable[[dict[str, object]], None]
    ) -> None:
        """Begin with none; ``report`` gets the fields of a record."""
        self._settings, self._report = settings, report
        self.overflowed = 0
        self._told_overflowed = self._spans = self._metrics = 0
        self._reason = ""
        self._next = 0.0  # seconds of ``time.monotonic``

    def add_spans(self, count: int, reason: str) -> None:
        """Count spans that were not sent where there is a reason."""
        if reason:
            self._spans += count
            self._reason = f"{shown_url(self._settings.traces)}: {reason}"

    def abandon(self, count: int) -> None:
        """Count spans that are not sent after one of those before them was not."""
        self._spans += count

    def add_metrics(self, reason: str) -> None:
        """Count a report of the metrics; likewise."""
        if reason:
            self._metrics += 1
            self._reason = f"{shown_url(self._settings.metrics)}: {reason}"

    def tell_if_due(self) -> None:
        """Report, a minute after the last time."""
        if time.monotonic() >= self._next:
            self.tell()

    def tell(self) -> None:
        """Report what was lost since the last report."""
        overflowed = self.overflowed
        dropped = overflowed - self._told_overflowed
        if not (dropped or self._spans or self._metrics):
            return
        self._report(
            {
                "reason": self._reason or _FULL,
                "spans": self._spans + dropped,
                "metric_reports": self._metrics,
            }
        )
        self._told_overflowed, self._spans, self._metrics, self._reason = overflowed, 0, 0, ""
        self._next = time.monotonic() + _INTERVAL_S
