"""``GET /metrics``: Prometheus's text format 0.0.4.

Written without prometheus_client, whose import takes 59 ms: ``--workers`` alone imports it, to
aggregate these families (``workers/aggregation.py``).
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from itertools import accumulate
from typing import TYPE_CHECKING, Final, Literal

from runtime.serving.models.statistics import BATCH_ROWS, LATENCY_S
from runtime.value import Value

if TYPE_CHECKING:
    from collections.abc import Iterator

    from runtime.serving.models.repository import Repository
    from runtime.serving.models.served import ServedModel
    from runtime.serving.observability.traffic import Traffic

MEDIA_TYPE: Final = b"text/plain; version=0.0.4; charset=utf-8"
_ESCAPED: Final = str.maketrans({"\\": r"\\", '"': r"\"", "\n": r"\n"})
_PREFIX: Final = "onnxferry_"


class Histogram(Value, frozen=True):
    """Observations per bucket, the last one without an upper bound, and their sum."""

    counts: Sequence[int]
    total: float


LabelValues = tuple[str, ...]
Samples = Mapping[LabelValues, float | Histogram]


class Family(Value, frozen=True):
    """A metric family.

    Attributes:
        name: without the prefix.
        kind: Prometheus's type.
        help: description.
        labels: names, in the order of the samples' label values.
        multiprocess_mode: how prometheus_client aggregates a gauge over workers; ``live`` ones
            leave out dead workers.
        buckets: upper bounds of a histogram's buckets.
    """

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    help: str
    labels: tuple[str, ...] = ()
    multiprocess_mode: Literal["livesum", "livemin", "livemax", "min"] = "livesum"
    buckets: tuple[float, ...] = ()


_MODEL: Final = ("model", "version")
FAMILIES: Final = (
    Family("answers_total", "counter", "responses sent", ("code",)),
    Family("shed_total", "counter", "requests rejected unread", ("code",)),
    Family("connections", "gauge", "open connections"),
    Family("in_flight", "gauge", "requests in flight"),
    Family("buffered_bytes", "gauge", "bytes of request bodies in memory"),
    Family("draining", "gauge", "1 while the server shuts down", (), "livemax"),
    Family("start_time_seconds", "gauge", "start, seconds since the epoch", (), "min"),
    Family("resident_memory_bytes", "gauge", "resident memory"),
    Family("model_ready", "gauge", "1 when the model is served", ("model",), "livemin"),
    Family(
        "model_stale",
        "gauge",
        "1 when the last load failed and an older version is served, or none",
        ("model",),
        "livemax",
    ),
    Family("model_loads_total", "counter", "bundles loaded", ("model", "outcome")),
    Family(
        "model_info", "gauge", "version and provider of a model", (*_MODEL, "provider"), "livemax"
    ),
    Family("inferences_total", "counter", "inference requests", (*_MODEL, "outcome")),
    Family("rows_total", "counter", "rows scored", _MODEL),
    Family("queue_depth", "gauge", "requests waiting for the next batch", _MODEL),
    Family(
        "inference_seconds",
        "histogram",
        "from the last byte of a request to its response",
        _MODEL,
        buckets=LATENCY_S,
    ),
    Family("batch_rows", "histogram", "rows per batch", _MODEL, buckets=BATCH_ROWS),
    Family(
        "out_of_range_total",
        "counter",
        "values outside the training range and unseen categories, scored anyway",
        (*_MODEL, "feature", "side"),
    ),
)


def collect(traffic: Traffic, repository: Repository, started: float) -> dict[str, Samples]:
    """Return the samples of each family by its name; ``started`` in seconds since the epoch."""
    slots = repository.slots.items()
    models: dict[LabelValues, ServedModel] = {
        (one.name, one.version): one for one in repository.models()
    }
    statistics = {labels: one.statistics for labels, one in models.items()}
    return {
        "answers_total": _by_code(traffic.responses),
        "shed_total": _by_code(traffic.rejected),
        "connections": {(): traffic.connections},
        "in_flight": {(): traffic.in_flight},
        "buffered_bytes": {(): traffic.buffered_bytes},
        "draining": {(): traffic.draining},
        "start_time_seconds": {(): started},
        "resident_memory_bytes": {(): _resident_bytes()},
        "model_ready": {(name,): slot.model is not None for name, slot in slots},
        "model_stale": {(name,): slot.stale for name, slot in slots},
        "model_loads_total": {
            (name, outcome): count
            for name, slot in slots
            for outcome, count in (("served", slot.loads), ("refused", slot.failures))
        },
        "model_info": {(*labels, one.predictor.provider): 1 for labels, one in models.items()},
        "inferences_total": {
            (*labels, outcome): count
            for labels, one in statistics.items()
            for outcome, count in (("answered", one.requests), ("refused", one.failed))
        },
        "rows_total": {labels: one.rows for labels, one in statistics.items()},
        "queue_depth": {labels: one.batcher.depth for labels, one in models.items()},
        "inference_seconds": {
            labels: Histogram(one.latency, one.latency_sum) for labels, one in statistics.items()
        },
        "batch_rows": {
            labels: Histogram(one.batches, one.batch_sum) for labels, one in statistics.items()
        },
        "out_of_range_total": dict(_out_of_range(models)),
    }


def render(metrics: Mapping[str, Samples]) -> str:
    """Render all families; one without samples has only its HELP and TYPE lines."""
    lines: list[str] = []
    for family in FAMILIES:
        name = _PREFIX + family.name
        lines += (f"# HELP {name} {family.help}", f"# TYPE {name} {family.kind}")
        for values, value in metrics.get(family.name, {}).items():
            labels = dict(zip(family.labels, values, strict=True))
            if isinstance(value, Histogram):
                lines += _render_histogram(name, labels, family.buckets, value)
            else:
                lines.append(_render_sample(name, labels, value))
    return "\n".join(lines) + "\n"


def _by_code(counts: Mapping[int, int]) -> Samples:
    return {(str(code),): count for code, count in sorted(counts.items())}


def _out_of_range(
    models: Mapping[LabelValues, ServedModel],
) -> Iterator[tuple[LabelValues, float]]:
    for labels, model in models.items():
        ranges = model.validator.ranges
        for name, counts in ranges.report().items():
            if name in ranges.open:
                yield (*labels, name, "unseen"), counts.unseen
            else:
                yield (*labels, name, "below"), counts.below
                yield (*labels, name, "above"), counts.above


def _render_histogram(
    name: str, labels: Mapping[str, str], buckets: Sequence[float], value: Histogram
) -> Iterator[str]:
    bounds = [*map(str, buckets), "+Inf"]
    for bound, count in zip(bounds, accumulate(value.counts), strict=True):
        yield _render_sample(f"{name}_bucket", {**labels, "le": bound}, count)
    yield _render_sample(f"{name}_sum", labels, value.total)
    yield _render_sample(f"{name}_count", labels, sum(value.counts))


def _render_sample(name: str, labels: Mapping[str, str], value: float) -> str:
    inner = ",".join(f'{key}="{text.translate(_ESCAPED)}"' for key, text in labels.items())
    number = int(value) if value == int(value) else value
    return f"{name}{{{inner}}} {number}" if inner else f"{name} {number}"


def _resident_bytes() -> int:
    """Read Linux's resident set size; 0 elsewhere."""
    try:
        with open("/proc/self/statm", "rb") as stream:  # noqa: PTH123 - pathlib has no gain here
            return int(stream.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return 0
