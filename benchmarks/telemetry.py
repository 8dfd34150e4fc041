"""What OpenTelemetry costs a server, beside the same server without it.

Servers of one process each are loaded in turn: without telemetry; with metrics; with spans of 1 %
of the requests, too; with those of all; and with those of all to a collector that does not run.
The collector of the others discards what it receives. Below that: what a span takes to make and
end, ours and the SDK's.

python benchmarks/telemetry.py [--rounds 5] [--seconds 1.5] [--write]
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import measure
import serve
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
from opentelemetry.trace import SpanKind
from serving.contenders import Contender, free_port, start

from runtime.telemetry.settings import TelemetrySettings
from runtime.telemetry.spans import Span, Tracer

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

SINK = Path(__file__).parent / "serving" / "sink.py"
TASKS = (
    serve.Task("1 row, JSON, 1 connection", "json", 1, 1),
    serve.Task("1 row, JSON, 64 connections", "json", 1, 64),
)
SPANS = 5000
ATTRIBUTES: dict[str, str | int] = {
    "http.request.method": "POST",
    "url.scheme": "http",
    "http.response.status_code": 200,
    "http.route": "/v2/models/{model}/infer",
}


def variables(collector: int) -> dict[str, dict[str, str]]:
    """The settings of each server, by its name."""
    sent = {"OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{collector}"}
    sampled = {"OTEL_TRACES_SAMPLER": "parentbased_traceidratio", "OTEL_TRACES_SAMPLER_ARG": "0.01"}
    dead = {"OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{free_port()}"}
    return {
        serve.OURS: {},
        "with metrics": {**sent, "OTEL_TRACES_EXPORTER": "none"},
        "and spans of 1 % of the requests": {**sent, **sampled},
        "and spans of all": sent,
        "the same, no collector there": dead,
    }


def open_server(bundle: Path, environment: Mapping[str, str]) -> Contender:
    """Start a server."""
    port = free_port()
    command = [sys.executable, "-m", "runtime", "serve", "--provider", "cpu"]
    return start([*command, "--bundle", str(bundle), "--port", str(port)], port, environment)


def time_spans() -> str:
    """Format the time to make and end a span with four attributes, µs: medians over rounds."""
    ended: list[Span] = []
    ours = Tracer(TelemetrySettings("", ""), ended.append)
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SpanProcessor())
    theirs = provider.get_tracer("benchmark")

    def own() -> None:
        span = ours.start("POST", time.perf_counter_ns(), None, "server")
        span.attributes.update(ATTRIBUTES)
        ours.end(span, time.perf_counter_ns())

    def sdk() -> None:
        theirs.start_span("POST", kind=SpanKind.SERVER, attributes=ATTRIBUTES).end()

    own_times, sdk_times = [], []
    for _ in range(9):
        own_times.append(_each_us(own))
        sdk_times.append(_each_us(sdk))
        ended.clear()
    own_us, sdk_us = statistics.median(own_times), statistics.median(sdk_times)
    ratio = statistics.median(b / a for a, b in zip(own_times, sdk_times, strict=True))
    return f"A span: ours {own_us:.1f} µs, the SDK's {sdk_us:.1f} µs, {ratio:.1f} times as much."


def _each_us(make: Callable[[], None]) -> float:
    started = time.perf_counter()
    for _ in range(SPANS):
        make()
    return (time.perf_counter() - started) / SPANS * 1e6


def main() -> None:
    """Start all, load them in turn, report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bundle", type=Path, default=Path("artifacts/bundle"))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=1.5)
    parser.add_argument("--write", action="store_true", help="keep the result")
    args = parser.parse_args()
    bundle, collector = args.bundle.resolve(), free_port()
    contenders: dict[str, Contender] = {}
    with subprocess.Popen([sys.executable, SINK, str(collector)]) as sink:
        try:
            for name, asked in variables(collector).items():
                contenders[name] = open_server(bundle, asked)
            parts = [serve.race(task, contenders, args.rounds, args.seconds) for task in TASKS]
            parts.append(
                serve.describe_starts(
                    contenders, {name: one.resident_mib() for name, one in contenders.items()}
                )
            )
        finally:
            for one in contenders.values():
                one.stop()
            sink.kill()
    measure.report(
        "telemetry",
        "What OpenTelemetry costs a server",
        "\n\n".join([*parts, time_spans()]),
        ("onnxferry", "opentelemetry-sdk", "opentelemetry-exporter-otlp-proto-http", "uvloop"),
        note=(
            "Medians; ratios are medians over the pairs of rounds. Load and collector are on the "
            f"same processors; the load average was {os.getloadavg()[0]:.1f} at the end: where it "
            "is far above two, compare CPU a request."
        ),
        write=args.write,
    )


if __name__ == "__main__":
    main()
