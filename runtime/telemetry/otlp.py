"""Send spans and metrics by OTLP over HTTP; no other module imports opentelemetry."""

from __future__ import annotations

import logging
import os
import sys
import time
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from runtime.errors import UnavailableError
from runtime.printable import printable, truncate

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from contextlib import AbstractContextManager

    from opentelemetry.sdk.metrics.export import MetricsData
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import ReadableSpan
    from requests import Response, Session

    from runtime.telemetry.readings import Reading
    from runtime.telemetry.settings import TelemetrySettings
    from runtime.telemetry.spans import Attribute, Span, SpanContext

EXPORTERS: Final = "opentelemetry.exporter"  # the logger of the SDK's exporters
SCOPE: Final = "onnxferry"
_EXTRA: Final = 'pip install "onnxferry[otel]"'
_INSTANCE: Final = "service.instance.id"
_MAX_CHARACTERS: Final = 200  # of a reason
_UNKNOWN: Final = "not delivered"
_CAUSES: Final = 6  # at most, of an error


def open_sender(settings: TelemetrySettings, worker: int | None = None) -> OtlpSender:
    """Prepare to send; ``worker`` is the number of this process among those of a server.

    Raises ``UnavailableError`` when the extra is not installed.
    """
    try:
        import opentelemetry.exporter.otlp.proto.http
        import opentelemetry.sdk.trace  # noqa: F401 - is it there?
    except ImportError as exc:
        raise UnavailableError(
            f"OTEL_* asks for telemetry, and {exc.name or exc} is not installed: {_EXTRA}, or set "
            "OTEL_SDK_DISABLED=true"
        ) from exc
    return OtlpSender(settings, worker)


def host_span(name: str) -> AbstractContextManager[Callable[[dict[str, Attribute]], None]] | None:
    """Return a span of the provider that this process has set itself; None without one.

    The context's value takes attributes. An error is recorded by its class alone: its text may
    quote values.
    """
    trace = sys.modules.get("opentelemetry.trace")  # a process that has set one has loaded it
    provider = trace.get_tracer_provider() if trace else None
    if trace is None or provider is None or isinstance(provider, trace.ProxyTracerProvider):
        return None

    @contextmanager
    def spanned() -> Iterator[Callable[[dict[str, Attribute]], None]]:
        tracer = provider.get_tracer(SCOPE, _version())
        options = {"record_exception": False, "set_status_on_exception": False}
        with tracer.start_as_current_span(name, **options) as span:
            try:
                yield span.set_attributes
            except BaseException as exc:
                span.set_attribute("error.type", type(exc).__name__)
                span.set_status(trace.StatusCode.ERROR)
                raise

    return spanned()


class OtlpSender:
    """Sends with the SDK's exporters, which read the variables about headers, TLS and time."""

    def __init__(self, settings: TelemetrySettings, worker: int | None) -> None:
        """Prepare; nothing is sent yet."""
        from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.util.instrumentation import InstrumentationScope

        logging.getLogger(EXPORTERS).addHandler(logging.NullHandler())  # else to stderr
        self._attempts = attempts = _Attempts()
        self._open: list[Any] = []
        self._traces = self._metrics = None
        if settings.traces:
            self._traces = OTLPSpanExporter(settings.traces, session=attempts.session())
            self._open.append(self._traces)
        if settings.metrics:
            self._metrics = OTLPMetricExporter(settings.metrics, session=attempts.session())
            self._open.append(self._metrics)
        self._resource = _describe_process(worker)
        self._scope = InstrumentationScope(SCOPE, _version())
        self._links = settings.links
        self._started_ns = time.time_ns()

    def send_spans(self, spans: Sequence[Span]) -> str:
        """Send spans; return why it failed, empty when they were delivered."""
        return self._send(self._traces, lambda: [*self._convert(spans)])

    def send_metrics(self, readings: Sequence[Reading]) -> str:
        """Send metrics; likewise."""
        return self._send(self._metrics, lambda: self._convert_metrics(readings))

    def abort(self) -> None:
        """End what another thread is sending, and send nothing more."""
        for exporter in self._open:
            exporter.shutdown()
        self._open = []

    def _send(self, exporter: Any, convert: Callable[[], object]) -> str:  # noqa: ANN401 - of either signal
        self._attempts.reason = ""
        try:
            result = exporter.export(convert())
        except Exception as exc:  # noqa: BLE001 - a fault of a library must not end the thread
            return _describe_error(exc)
        return "" if result.name == "SUCCESS" else self._attempts.reason or _UNKNOWN

    def _convert(self, spans: Sequence[Span]) -> Iterator[ReadableSpan]:
        from opentelemetry.sdk.trace import ReadableSpan
        from opentelemetry.sdk.util import BoundedList
        from opentelemetry.trace import Link, SpanKind, Status, StatusCode

        offset = time.time_ns() - time.perf_counter_ns()
        kinds = {"server": SpanKind.SERVER, "internal": SpanKind.INTERNAL}
        statuses = {True: Status(StatusCode.ERROR), False: Status(StatusCode.UNSET)}
        identity = _identities()
        for span in spans:
            links = BoundedList[Link](self._links) if span.links else ()
            for other in span.links:
                links.append(Link(identity(other)))  # type: ignore[union-attr]  # there are links
            yield ReadableSpan(
                name=span.name,
                context=identity(span.context),
                parent=identity(span.parent) if span.parent else None,
                resource=self._resource,
                attributes=span.attributes,
                links=links,
                kind=kinds[span.kind],
                status=statuses[span.is_error],
                start_time=span.start_ns + offset,
                end_time=span.end_ns + offset,
                instrumentation_scope=self._scope,
            )

    def _convert_metrics(self, readings: Sequence[Reading]) -> MetricsData:
        from opentelemetry.sdk.metrics.export import MetricsData, ResourceMetrics, ScopeMetrics

        convert = partial(_convert_reading, times=(self._started_ns, time.time_ns()))
        metrics = [convert(reading) for reading in readings if reading.points]
        scope = ScopeMetrics(self._scope, metrics, schema_url="")
        return MetricsData([ResourceMetrics(self._resource, [scope], schema_url="")])


def _convert_reading(reading: Reading, times: tuple[int, int]) -> Any:  # noqa: ANN401 - the SDK's Metric
    from opentelemetry.sdk.metrics import export as sdk

    from runtime.telemetry.readings import Distribution

    points: list[Any] = []
    for point in reading.points:
        attributes, value = dict(point.attributes), point.value
        if isinstance(value, Distribution):
            # Least and greatest are optional in the protocol, and unknown here.
            sizes: Any = {"sum": value.total, "min": None, "max": None}
            sizes |= {"bucket_counts": value.counts, "explicit_bounds": value.bounds}
            count = sum(value.counts)
            points.append(sdk.HistogramDataPoint(attributes, *times, count=count, **sizes))
        else:
            points.append(sdk.NumberDataPoint(attributes, *times, value=value))
    cumulative = sdk.AggregationTemporality.CUMULATIVE
    data: Any
    if reading.kind == "histogram":
        data = sdk.Histogram(points, cumulative)
    elif reading.kind == "gauge":
        data = sdk.Gauge(points)
    else:
        data = sdk.Sum(points, cumulative, is_monotonic=reading.kind == "counter")
    return sdk.Metric(reading.name, reading.help, reading.unit, data)


def _identities() -> Callable[[SpanContext], Any]:
    """Return the conversion of identities, with the classes that it needs."""
    from opentelemetry.trace import SpanContext as Identity
    from opentelemetry.trace import TraceFlags, TraceState

    flags = {True: TraceFlags(TraceFlags.SAMPLED), False: TraceFlags(TraceFlags.DEFAULT)}

    def convert(context: SpanContext) -> Identity:
        state = TraceState.from_header([context.state]) if context.state else None
        return Identity(
            context.trace_id,
            context.span_id,
            context.is_remote,
            flags[context.is_sampled],
            state,
        )

    return convert


def _describe_process(worker: int | None) -> Resource:
    """Describe this process; what ``OTEL_RESOURCE_ATTRIBUTES`` says of it is kept.

    Several workers have one environment, and need an instance id each: else a collector would take
    their counters for those of one process.
    """
    from opentelemetry.sdk.resources import Resource

    class Hashed(Resource):
        """A resource that is hashed once: the encoder hashes that of every span, as JSON."""

        def __hash__(self) -> int:
            return id(self)

    found = Resource.create()
    attributes: dict[str, Any] = {"service.version": _version(), **found.attributes}
    attributes["process.pid"] = os.getpid()
    if str(attributes["service.name"]).startswith("unknown_service"):
        attributes["service.name"] = SCOPE
    given = _given_attributes(os.environ)
    if worker is not None and _INSTANCE in given:
        attributes[_INSTANCE] = f"{attributes[_INSTANCE]}-{worker}"
    return Hashed(attributes, found.schema_url)


def _given_attributes(environment: Mapping[str, str]) -> set[str]:
    pairs = environment.get("OTEL_RESOURCE_ATTRIBUTES", "").split(",")
    return {pair.partition("=")[0].strip() for pair in pairs}


def _version() -> str:
    from importlib.metadata import version

    return version("onnxferry")


class _Attempts:
    """Why the last attempt to send failed, which the exporters only log; empty when it did not."""

    def __init__(self) -> None:
        self.reason = ""

    def session(self) -> Session:
        """Return a session that keeps the reason."""
        from requests import Session

        attempts = self

        class Watched(Session):
            """Keeps how each request ended."""

            def request(self, *arguments: Any, **options: Any) -> Response:  # noqa: ANN401 - passed on
                try:
                    response = super().request(*arguments, **options)
                except Exception as exc:
                    attempts.reason = _describe_error(exc)
                    raise
                text = f"HTTP {response.status_code} {_short(response.reason or '')}"
                attempts.reason = "" if response.ok else text.strip()
                return response

        return Watched()


def _short(text: str) -> str:
    return truncate(printable(text), _MAX_CHARACTERS)


def _describe_error(error: BaseException) -> str:
    """Describe an error without its message, which may hold a URL with a key."""
    seen: BaseException | None = error
    for _ in range(_CAUSES):
        if isinstance(seen, OSError) and seen.strerror:
            return seen.strerror
        if seen is None:
            break
        inner = [getattr(seen, "reason", None), *seen.args, seen.__cause__, seen.__context__]
        seen = next((one for one in inner if isinstance(one, BaseException)), None)
    return type(error).__name__
