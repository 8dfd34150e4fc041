"""Trace context and sampling."""

from __future__ import annotations

import pytest

from runtime.telemetry.settings import TelemetrySettings
from runtime.telemetry.spans import Span, SpanContext, Tracer, parse_traceparent

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


@pytest.mark.parametrize(
    ("text", "is_sampled"),
    [
        (f"00-{TRACE}-{SPAN}-01", True),
        (f"00-{TRACE}-{SPAN}-00", False),
        (f"00-{TRACE}-{SPAN}-03", True),
        (f"cc-{TRACE}-{SPAN}-01-what-comes", True),
    ],
)
def test_traceparent(text: str, *, is_sampled: bool) -> None:
    """W3C's header field, of this version and of later ones."""
    expected = SpanContext(int(TRACE, 16), int(SPAN, 16), is_sampled, "a=b", is_remote=True)
    assert parse_traceparent(text, "a=b") == expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        f"ff-{TRACE}-{SPAN}-01",
        f"00-{TRACE}-{SPAN}-01-more",
        f"00-{'0' * 32}-{SPAN}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"00-{TRACE.upper()}-{SPAN}-01",
        f"00-{TRACE}-{SPAN}",
    ],
)
def test_an_invalid_traceparent_is_none(text: str) -> None:
    """It begins a new trace, as the specification asks."""
    assert parse_traceparent(text) is None


@pytest.mark.parametrize("follows", [True, False])
def test_sampling(*, follows: bool) -> None:
    """A ratio decides by the trace's id, a caller where it is followed, never a child."""
    ended: list[Span] = []
    settings = TelemetrySettings("http://host", "", follows_parent=follows, ratio=0.25)
    tracer = Tracer(settings, ended.append)
    low = SpanContext(2**62 - 1, 1, is_sampled=False, is_remote=True)
    high = SpanContext((1 << 64) + 2**62, 1, is_sampled=True, is_remote=True)
    for parent in (low, high):
        span = tracer.start("request", 0, parent)
        tracer.end(tracer.start("batch", 0, span.context), 1)
        tracer.end(span, 1)
    sampled = high if follows else low
    assert [span.name for span in ended] == ["batch", "request"]
    assert {span.context.trace_id for span in ended} == {sampled.trace_id}
    firsts = [tracer.start("request", 0) for _ in range(2000)]
    assert 350 < sum(span.context.is_sampled for span in firsts) < 650
