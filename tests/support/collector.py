"""A collector on loopback: receives OTLP over HTTP and parses it."""

from __future__ import annotations

import gzip
import threading
import time
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from serving_client import PATIENCE_S

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

_KINDS: dict[str, Any] = {
    "/v1/traces": ExportTraceServiceRequest,
    "/v1/metrics": ExportMetricsServiceRequest,
}


class Span:
    """A span that was received."""

    def __init__(self, sent: Any, resource: Mapping[str, object]) -> None:  # noqa: ANN401 - a message
        self.name, self.resource = sent.name, resource
        self.trace_id, self.id = sent.trace_id.hex(), sent.span_id.hex()
        self.parent_id = sent.parent_span_id.hex()
        self.start, self.end = sent.start_time_unix_nano, sent.end_time_unix_nano
        self.is_server, self.is_error = sent.kind == sent.SPAN_KIND_SERVER, sent.status.code == 2
        self.message, self.state = sent.status.message, sent.trace_state
        self.links = {link.span_id.hex() for link in sent.links}
        self.attributes = _values(sent.attributes)

    def __repr__(self) -> str:
        return f"{self.name} {self.id} of {self.parent_id or 'nobody'} {self.attributes}"


class Collector:
    """What was received.

    Attributes:
        status: of the next responses; 0 closes the connection without one.
        headers: of the requests.
    """

    def __init__(self) -> None:
        self.status = 200
        self.headers: list[dict[str, str]] = []
        self.port = 0
        self._traces: list[Any] = []
        self._metrics: list[Any] = []

    def receive(self, path: str, body: bytes) -> None:
        kept = self._traces if path == "/v1/traces" else self._metrics
        kept.append(_KINDS[path].FromString(body))

    @property
    def variables(self) -> dict[str, str]:
        """What makes a process send here, soon."""
        return {
            "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{self.port}",
            "OTEL_BSP_SCHEDULE_DELAY": "50",
            "OTEL_METRIC_EXPORT_INTERVAL": "200",
        }

    @property
    def spans(self) -> list[Span]:
        return [
            Span(span, _values(each.resource.attributes))
            for request in list(self._traces)
            for each in request.resource_spans
            for scope in each.scope_spans
            for span in scope.spans
        ]

    def named(self, name: str) -> list[Span]:
        return [span for span in self.spans if span.name == name]

    @property
    def metrics(self) -> dict[str, dict[str, dict[frozenset[tuple[str, object]], Any]]]:
        """The last values: by process, by name, by attributes; histograms as messages."""
        found: dict[str, Any] = {}
        for request in list(self._metrics):
            for each in request.resource_metrics:
                process = str(_values(each.resource.attributes)["service.instance.id"])
                for metric in (one for scope in each.scope_metrics for one in scope.metrics):
                    data = getattr(metric, metric.WhichOneof("data"))
                    for point in data.data_points:
                        value = point if hasattr(point, "explicit_bounds") else _number(point)
                        name, key = metric.name, frozenset(_values(point.attributes).items())
                        found.setdefault(process, {}).setdefault(name, {})[key] = value
        return found

    def wait(self, ready: Callable[[], object]) -> None:
        """Wait until something has been received."""
        until = time.monotonic() + PATIENCE_S
        while not ready():
            assert time.monotonic() < until, self.spans
            time.sleep(0.02)


def _number(point: Any) -> float:  # noqa: ANN401 - a message
    return float(getattr(point, point.WhichOneof("value")))


def _values(attributes: Any) -> dict[str, object]:  # noqa: ANN401 - messages
    return {one.key: getattr(one.value, one.value.WhichOneof("value")) for one in attributes}


@contextmanager
def collecting() -> Iterator[Collector]:
    """Run a collector on a free port."""
    collector = Collector()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            headers = {name.lower(): value for name, value in self.headers.items()}
            collector.headers.append(headers)
            if headers.get("content-encoding") == "gzip":
                body = gzip.decompress(body)
            if collector.status == 200:
                collector.receive(self.path, body)
            self.send_response(collector.status)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    collector.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield collector
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
