"""The span of a run that scores files, where OpenTelemetry asks for it."""

from __future__ import annotations

import os
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from runtime.telemetry.exporting import Exporter
from runtime.telemetry.otlp import host_span, open_sender
from runtime.telemetry.settings import read_settings
from runtime.telemetry.spans import Tracer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

    from runtime.scoring.summary import Summary
    from runtime.telemetry.settings import TelemetrySettings
    from runtime.telemetry.spans import Attribute, Span

    Annotate = Callable[[dict[str, Attribute]], None]
    Tell = Callable[[str], None]

NAME: Final = "predict"
_FLUSH_S: Final = 5.0  # at the end of a run, at most
_INTERRUPTED_S: Final = 1.0  # likewise, of one that was interrupted
_VARIABLES: Final = ("TRACEPARENT", "TRACESTATE")  # the caller's, where a scheduler sets them


def traced_run(score: Callable[[], Summary], tell: Tell) -> Summary:
    """Score, and record that as a span.

    The span is one of the process's own provider where it has set one, else it is sent as the
    variables ``OTEL_*`` ask. It has counts and durations, never names of files, values of cells or
    texts of errors.

    Args:
        score: the run.
        tell: receives a sentence when the span was not delivered.

    Returns:
        What ``score`` returns.

    Raises:
        UsageError: when a variable cannot be honoured; nothing was scored.
        UnavailableError: when the extra is not installed; likewise.
    """
    measured = _choose(tell)
    if measured is None:
        return score()
    with measured as annotate:
        summary = score()
        annotate(_describe(summary))
    return summary


def _choose(tell: Tell) -> AbstractContextManager[Annotate] | None:
    if (hosted := host_span(NAME)) is not None:
        return hosted
    settings = read_settings(os.environ)
    return _sent_span(settings, tell) if settings and settings.traces else None


@contextmanager
def _sent_span(settings: TelemetrySettings, tell: Tell) -> Iterator[Annotate]:
    """Measure a span, and send it at the end."""

    def report(fields: dict[str, object]) -> None:
        tell(f"the trace of this run was not delivered: {fields['reason']}")

    exporter = Exporter(settings, open_sender(settings), report)
    tracer = Tracer(settings, exporter.put)
    parent = tracer.caller(*(os.environ.get(name, "") for name in _VARIABLES))
    span = tracer.start(NAME, time.perf_counter_ns(), parent)
    timeout_s = _FLUSH_S
    try:
        yield span.attributes.update
    except BaseException as exc:
        _mark_failed(span, exc)
        timeout_s = _FLUSH_S if isinstance(exc, Exception) else _INTERRUPTED_S
        raise
    finally:
        tracer.end(span, time.perf_counter_ns())
        if span.context.is_sampled:
            exporter.start()
            exporter.stop(timeout_s)


def _mark_failed(span: Span, error: BaseException) -> None:
    span.is_error = True
    span.attributes["error.type"] = type(error).__name__


def _describe(summary: Summary) -> dict[str, Attribute]:
    name, _, version = summary.model.rpartition(" ")
    return {
        "onnxferry.model.name": name,
        "onnxferry.model.version": version,
        "onnxferry.provider": summary.provider,
        "onnxferry.rows": summary.rows,
        "onnxferry.rows.scored": summary.scored,
        "onnxferry.rows.bad": summary.rejected,
        "onnxferry.blocks": summary.blocks,
        **{f"onnxferry.stage.{name}": seconds for name, seconds in summary.stages.items()},
    }
