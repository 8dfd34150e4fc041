"""What is sent, and what is reported of what is not, with a real collector."""

from __future__ import annotations

import socket
import time
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest
from msgspec.structs import replace

pytest.importorskip("opentelemetry.sdk", reason='pip install "onnxferry[otel]" installs the SDK')
from collector import Collector, collecting

from runtime.telemetry import exporting
from runtime.telemetry.exporting import Exporter
from runtime.telemetry.otlp import open_sender
from runtime.telemetry.settings import TelemetrySettings
from runtime.telemetry.spans import Tracer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@pytest.fixture
def collector() -> Iterator[Collector]:
    """A collector."""
    with collecting() as collector:
        yield collector


Told = list[dict[str, object]]


@pytest.fixture
def make(collector: Collector) -> Callable[..., tuple[Exporter, Told]]:
    """``make(**settings)``: an exporter to the collector, and what it tells."""

    def make_exporter(**changes: object) -> tuple[Exporter, Told]:
        url = f"http://127.0.0.1:{collector.port}/v1/traces"
        settings = replace(TelemetrySettings(url, ""), **changes)
        told: Told = []
        return Exporter(settings, open_sender(settings), told.append), told

    return make_exporter


def _put(exporter: Exporter, count: int) -> None:
    tracer = Tracer(TelemetrySettings("", ""), exporter.put)
    for number in range(count):
        tracer.end(tracer.start(f"span {number}", time.perf_counter_ns()), time.perf_counter_ns())


def test_all_are_sent_in_batches(
    collector: Collector, make: Callable[..., tuple[Exporter, Told]]
) -> None:
    """A full batch is sent at once, the rest at the end; nothing is lost and nothing told."""
    exporter, told = make(batch=100, delay_s=60.0)
    exporter.start()
    _put(exporter, 250)
    collector.wait(lambda: len(collector.spans) >= 100)
    exporter.stop(5)
    assert [span.name for span in collector.spans] == [f"span {number}" for number in range(250)]
    assert told == []


def test_a_full_queue_is_counted(
    collector: Collector, make: Callable[..., tuple[Exporter, Told]]
) -> None:
    """Spans beyond the queue are dropped; the report has their number and the remedy."""
    exporter, told = make(queue=10, batch=10)
    _put(exporter, 25)
    exporter.start()
    exporter.stop(5)
    assert len(collector.spans) == 10
    assert [(each["spans"], each["metric_reports"]) for each in told] == [(15, 0)]
    assert "OTEL_BSP_MAX_QUEUE_SIZE" in str(told[0]["reason"])


def test_losses_are_told_once_a_minute(
    collector: Collector,
    make: Callable[..., tuple[Exporter, Told]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The first at once, later ones together when the minute is over, and the rest at the end."""
    now = [0.0]
    monkeypatch.setattr(exporting, "time", SimpleNamespace(monotonic=lambda: now[0]))
    collector.status = 401
    exporter, told = make(batch=1, delay_s=0.01)
    exporter.start()
    try:
        for at in (0.0, 30.0, 61.0, 62.0, 63.0):
            now[0] = at
            _put(exporter, 1)
            while exporter.pending:
                time.sleep(0.01)
    finally:
        exporter.stop(5)
    assert [each["spans"] for each in told] == [1, 2, 2]
    assert {each["reason"] for each in told} == {
        f"http://127.0.0.1:{collector.port}/v1/traces: HTTP 401 Unauthorized"
    }


def test_a_collector_that_never_answers_ends_in_time() -> None:
    """The end of a server waits a bounded time; what waits is reported as lost."""
    told: Told = []
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://me:s3cret@127.0.0.1:{listener.getsockname()[1]}/v1/traces"
        settings = TelemetrySettings(url, "", batch=1)
        exporter = Exporter(settings, open_sender(settings), told.append)
        exporter.start()
        _put(exporter, 3)
        started = time.monotonic()
        exporter.stop(0.3)
        assert time.monotonic() - started < 5
    assert [each["spans"] for each in told] == [3]
    assert str(told[0]["reason"]).endswith("/v1/traces: no answer in 0.3 s")
    assert "s3cret" not in str(told)
