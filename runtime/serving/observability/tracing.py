"""Spans and durations of HTTP requests, by the semantic conventions, and spans of batches.

Source: opentelemetry.io/docs/specs/semconv/http. Neither header fields nor queries are part of
them.
"""

from __future__ import annotations

import time
from contextvars import ContextVar
from typing import TYPE_CHECKING, Final

from runtime.printable import printable, truncate

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from runtime.serving.http.messages import Handle, Reply, Request, Response
    from runtime.serving.models.batcher import BatchResult, PendingRequest
    from runtime.serving.routing import Match
    from runtime.telemetry.readings import Attributes, DurationHistogram
    from runtime.telemetry.spans import Span, SpanContext, Tracer

    FindRoute = Callable[[str], Match | None]

_TRACEPARENT: Final = b"traceparent"
_TRACESTATE: Final = b"tracestate"
_METHODS: Final = frozenset(
    {"CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "QUERY", "TRACE"}
)
_OTHER: Final = "_OTHER"
# Probes and scrapes come every few seconds: they are counted, not traced.
_UNTRACED: Final = frozenset(
    {"/metrics", "/ping", "/v2/health/live", "/v2/health/ready", "/v2/models/*/ready"}
)
_SERVER_ERROR: Final = 500
_MAX_TEXT: Final = 200  # characters of a path

# The span of the request that is handled in this context; tasks and threads inherit it.
current_span: ContextVar[Span | None] = ContextVar("span of the request", default=None)


class HttpTracing:
    """Measures the requests of an HTTP server; for the event loop's thread."""

    def __init__(self, tracer: Tracer, durations: DurationHistogram, scheme: str) -> None:
        """Pass spans to ``tracer`` and count in ``durations``; the scheme is http or https."""
        self._tracer, self._durations, self._scheme = tracer, durations, scheme

    def wrap(self, handle: Handle, find_route: FindRoute) -> Handle:
        """Return a handler that measures ``handle``."""

        def measured(request: Request, reply: Reply) -> None:
            found = find_route(request.target.partition("?")[0])
            span = self._start(request, found)
            token = current_span.set(span)

            def finish(response: Response) -> None:
                reply(response)
                self._finish(span, request, found, response.status, response.reason)

            try:
                handle(request, finish)
            except Exception:
                self._finish(span, request, found, _SERVER_ERROR, "internal error")
                raise
            finally:
                current_span.reset(token)

        return measured

    def _start(self, request: Request, found: Match | None) -> Span | None:
        if found and found.route in _UNTRACED:
            return None
        method = _method(request)
        verb = "HTTP" if method == _OTHER else method
        name = f"{verb} {_shown(found)}" if found else verb
        headers, parent = request.headers, None
        if _TRACEPARENT in headers:
            state = headers.get(_TRACESTATE, b"").decode("latin-1")
            parent = self._tracer.caller(headers[_TRACEPARENT].decode("latin-1"), state)
        return self._tracer.start(name, request.received_ns, parent, "server")

    def _finish(
        self,
        span: Span | None,
        request: Request,
        found: Match | None,
        status: int,
        reason: str,
    ) -> None:
        now = time.perf_counter_ns()
        attributes: Attributes = (
            ("http.request.method", _method(request)),
            ("url.scheme", self._scheme),
            ("http.response.status_code", status),
            ("network.protocol.version", "1.1"),
        )
        if found:
            attributes += (("http.route", _shown(found)),)
        if status >= _SERVER_ERROR:
            attributes += (("error.type", str(status)),)
        self._durations.record(attributes, (now - request.received_ns) / 1e9)
        if span is None or not span.context.is_sampled:
            return
        span.attributes.update(attributes)
        path = request.target.partition("?")[0]
        span.attributes["url.path"] = truncate(printable(path), _MAX_TEXT)
        span.attributes["http.request.body.size"] = len(request.body)
        if found and found.name:
            span.attributes["onnxferry.model.name"] = truncate(printable(found.name), _MAX_TEXT)
        if reason:
            span.attributes["onnxferry.reason"] = reason
        span.is_error = status >= _SERVER_ERROR
        self._tracer.end(span, now)


def _method(request: Request) -> str:
    return request.method if request.method in _METHODS else _OTHER


def _shown(found: Match) -> str:
    return found.route.replace("*", "{model}")


class BatchTracing:
    """Spans of one model's batches, which are those of the requests in them."""

    def __init__(self, tracer: Tracer, name: str, version: str) -> None:
        """Pass spans to ``tracer``."""
        self._tracer = tracer
        self._model = {"onnxferry.model.name": name, "onnxferry.model.version": version}

    def current(self) -> Span | None:
        """Return the span of the request that is handled."""
        return current_span.get()

    def record(self, requests: Sequence[PendingRequest], result: BatchResult) -> None:
        """Record a batch and its call of the model.

        The batch is a child of its first request, and linked with the others in both directions.
        """
        spans = []
        for request in requests:
            if request.span is not None and request.span.context.is_sampled:
                request.span.attributes["onnxferry.rows"] = len(request.features)
                spans.append(request.span)
        if not spans:
            return
        batch = self._begin("batch", result.started, spans[0].context)
        for other in spans[1:]:
            batch.links.append(other.context)
            other.links.append(batch.context)
        batch.attributes["onnxferry.batch.requests"] = len(requests)
        rows = batch.attributes["onnxferry.rows"] = len(result.outputs.label)
        call = self._begin("model", result.called, batch.context)
        call.attributes["onnxferry.rows"] = rows
        self._tracer.end(call, result.called + result.durations.infer_ns)
        self._tracer.end(batch, time.perf_counter_ns())

    def record_table(self, rows: tuple[int, int], start_ns: int, model_s: float) -> None:
        """Record a table that was scored outside the batches; ``rows`` are scored and bad ones."""
        request = current_span.get()
        if request is None or not request.context.is_sampled:
            return
        span = self._begin("score", start_ns, request.context)
        scored, bad = rows
        span.attributes["onnxferry.rows"] = scored + bad
        span.attributes["onnxferry.rows.bad"] = bad
        span.attributes["onnxferry.stage.model"] = model_s
        self._tracer.end(span, time.perf_counter_ns())

    def _begin(self, name: str, start_ns: int, parent: SpanContext) -> Span:
        span = self._tracer.start(name, start_ns, parent)
        span.attributes.update(self._model)
        return span
