"""Spans: what is measured of a request, a batch, a call of the model or a run.

They are our own until they are sent (``otlp``): the SDK's take ten times as long to make
(benchmarks/telemetry.py), in the thread that answers requests. Times are those of
``time.perf_counter_ns``.
"""

from __future__ import annotations

import random
import re
from typing import TYPE_CHECKING, Final, Literal

from runtime.value import Value

if TYPE_CHECKING:
    from collections.abc import Callable

    from runtime.telemetry.settings import TelemetrySettings

    Attribute = str | int | float | bool
    Kind = Literal["server", "internal"]

# W3C Trace Context, 3.2; later versions may append fields.
_TRACEPARENT: Final = re.compile(
    r"(?!ff)([0-9a-f]{2})-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})(-.*)?"
)
_SAMPLED: Final = 1
_LOW_BITS: Final = (1 << 64) - 1  # of a trace id, which decide whether a ratio holds it
_MAX_STATE: Final = 512  # characters of a tracestate


class SpanContext(Value, frozen=True, gc=False):
    """The identity of a span.

    Attributes:
        trace_id: 128 bits.
        span_id: 64 bits.
        is_sampled: whether it is sent.
        state: W3C's tracestate, as received.
        is_remote: whether it is a caller's.
    """

    trace_id: int
    span_id: int
    is_sampled: bool
    state: str = ""
    is_remote: bool = False


def parse_traceparent(text: str, state: str = "") -> SpanContext | None:
    """Parse a caller's traceparent and tracestate; None where it is invalid."""
    found = _TRACEPARENT.fullmatch(text.strip())
    if not found or (found[1] == "00" and found[5]):
        return None
    is_sampled = bool(int(found[4], 16) & _SAMPLED)
    kept = state if len(state) <= _MAX_STATE else ""  # W3C, 3.3.1.5: such a one may be discarded
    return SpanContext(int(found[2], 16), int(found[3], 16), is_sampled, kept, is_remote=True)


class Span:
    """A span that is measured.

    Attributes:
        name: of few different ones.
        kind: whether it handles a request.
        context: its identity.
        parent: None for the first of a trace.
        start_ns: when it began.
        end_ns: when it ended; 0 before.
        attributes: by name. Never a value of a table, nor text of an error, which may quote one.
        links: spans that it has to do with, besides its parent.
        is_error: whether what it measured failed.
    """

    __slots__ = (
        "attributes",
        "context",
        "end_ns",
        "is_error",
        "kind",
        "links",
        "name",
        "parent",
        "start_ns",
    )

    def __init__(
        self,
        name: str,
        context: SpanContext,
        parent: SpanContext | None,
        start_ns: int,
        kind: Kind = "internal",
    ) -> None:
        """Begin a span."""
        self.name, self.context, self.parent, self.kind = name, context, parent, kind
        self.start_ns, self.end_ns = start_ns, 0
        self.attributes: dict[str, Attribute] = {}
        self.links: list[SpanContext] = []
        self.is_error = False


class Tracer:
    """Makes spans, and passes those that are sampled on when they end."""

    def __init__(self, settings: TelemetrySettings, put: Callable[[Span], None]) -> None:
        """Sample as the settings say; ``put`` takes the ended spans."""
        self._put, self._follows_parent = put, settings.follows_parent
        self._bound = round(settings.ratio * (_LOW_BITS + 1))
        self._reads_context = settings.reads_context

    def start(
        self, name: str, start_ns: int, parent: SpanContext | None = None, kind: Kind = "internal"
    ) -> Span:
        """Begin a span: a child of ``parent``, or the first of a trace."""
        trace_id = parent.trace_id if parent else random.getrandbits(128) or 1
        if parent and (self._follows_parent or not parent.is_remote):
            is_sampled = parent.is_sampled
        else:
            is_sampled = trace_id & _LOW_BITS < self._bound
        span_id = random.getrandbits(64) or 1
        state = parent.state if parent else ""
        return Span(name, SpanContext(trace_id, span_id, is_sampled, state), parent, start_ns, kind)

    def caller(self, traceparent: str, state: str = "") -> SpanContext | None:
        """Return the span of a caller, from the texts that it sends."""
        if not traceparent or not self._reads_context:
            return None
        return parse_traceparent(traceparent, state)

    def end(self, span: Span, end_ns: int) -> None:
        """End a span."""
        span.end_ns = end_ns
        if span.context.is_sampled:
            self._put(span)
