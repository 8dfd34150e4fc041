"""Spans and durations of gRPC's calls, by the semantic conventions.

Source: opentelemetry.io/docs/specs/semconv/rpc.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

import grpc
import grpc.aio

from runtime.serving.observability.tracing import current_span

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

    from runtime.serving.observability.telemetry import ServerTelemetry
    from runtime.telemetry.readings import Attributes
    from runtime.telemetry.spans import Span

Context = Any  # grpc publishes no types
Handler = Any

# Probes come every few seconds: they are counted, not traced.
_UNTRACED: Final = ("grpc.health.v1.Health/",)
_PROBES: Final = ("/ServerLive", "/ServerReady", "/ModelReady")
# What is not the client's fault (semantic conventions of gRPC, status of a server's span).
_SERVER_ERRORS: Final = frozenset(
    {"UNKNOWN", "DEADLINE_EXCEEDED", "UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS"}
)


class TracingInterceptor(grpc.aio.ServerInterceptor):  # type: ignore[misc]  # as above
    """Measures the calls of a server."""

    def __init__(self, telemetry: ServerTelemetry) -> None:
        """Pass spans to ``telemetry`` and count in it."""
        self._tracer, self._durations = telemetry.tracer, telemetry.rpc_durations

    async def intercept_service(
        self,
        continuation: Callable[[Any], Awaitable[Handler]],
        handler_call_details: Any,  # noqa: ANN401 - as above
    ) -> Handler:
        """Return the handler of a call, measured; None for an unknown method."""
        handler = await continuation(handler_call_details)
        method = handler_call_details.method.lstrip("/")
        if handler is None:
            return None
        wrap, behaviour = _parts(handler)
        measure = self._measure_stream if handler.response_streaming else self._measure_unary
        return wrap(
            measure(behaviour, method), handler.request_deserializer, handler.response_serializer
        )

    def _measure_unary(
        self, behaviour: Callable[..., Awaitable[object]], method: str
    ) -> Callable[..., Awaitable[object]]:
        async def call(sent: object, context: Context) -> object:
            with self._measured(method, context):
                response = behaviour(sent, context)
                del sent  # an error that aborts keeps this frame alive
                return await response

        return call

    def _measure_stream(
        self, behaviour: Callable[..., AsyncIterator[object]], method: str
    ) -> Callable[..., AsyncIterator[object]]:
        async def call(sent: object, context: Context) -> AsyncIterator[object]:
            with self._measured(method, context):
                responses = behaviour(sent, context)
                del sent
                async for response in responses:
                    yield response

        return call

    @contextmanager
    def _measured(self, method: str, context: Context) -> Iterator[None]:
        started = time.perf_counter_ns()
        span = self._start(method, context, started)
        current_span.set(span)  # each call has a context of its own
        status = "UNKNOWN"
        try:
            yield
            status = "OK"
        except asyncio.CancelledError:
            status = "CANCELLED"
            raise
        except BaseException:
            code = context.code()  # as set by abort
            if isinstance(code, grpc.StatusCode) and code != grpc.StatusCode.OK:
                status = code.name
            raise
        finally:
            self._finish(span, method, status, started)

    def _start(self, method: str, context: Context, started: int) -> Span | None:
        if method.startswith(_UNTRACED) or method.endswith(_PROBES):
            return None
        sent = dict(context.invocation_metadata() or ())
        parent = self._tracer.caller(_text(sent.get("traceparent")), _text(sent.get("tracestate")))
        return self._tracer.start(method, started, parent, "server")

    def _finish(self, span: Span | None, method: str, status: str, started: int) -> None:
        now = time.perf_counter_ns()
        attributes: Attributes = (
            ("rpc.system.name", "grpc"),
            ("rpc.method", method),
            ("rpc.response.status_code", status),
        )
        if status in _SERVER_ERRORS:
            attributes += (("error.type", status),)
        self._durations.record(attributes, (now - started) / 1e9)
        if span is not None:
            span.attributes.update(attributes)
            span.is_error = status in _SERVER_ERRORS
            self._tracer.end(span, now)


def _parts(handler: Handler) -> tuple[Callable[..., Handler], Callable[..., Any]]:
    """Return how a handler of its kind is made, and its behaviour."""
    kinds = ("unary_unary", "unary_stream", "stream_unary", "stream_stream")
    kind = next(each for each in kinds if getattr(handler, each))
    return getattr(grpc, f"{kind}_rpc_method_handler"), getattr(handler, kind)


def _text(value: str | bytes | None) -> str:
    return value if isinstance(value, str) else ""
