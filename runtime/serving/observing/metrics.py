"""``GET /metrics``: counts for Prometheus, in its text format 0.0.4.

In: traffic and models. Out: text. No errors.
"""

from __future__ import annotations

import os
from itertools import accumulate
from typing import TYPE_CHECKING, Final

from runtime.serving.models.statistics import BATCH_ROWS, LATENCY_S

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from runtime.serving.models.repository import Repository
    from runtime.serving.models.served import ServedModel
    from runtime.serving.observing.traffic import Traffic

KIND: Final = b"text/plain; version=0.0.4; charset=utf-8"
_ESCAPED: Final = str.maketrans({"\\": r"\\", '"': r"\"", "\n": r"\n"})
_PREFIX: Final = "onnxferry_"

Labels = dict[str, str]
Sample = tuple[Labels, float]


def write_metrics(traffic: Traffic, repository: Repository, started: float) -> str:
    """Write everything that is counted.

    Args:
        traffic: of the server.
        repository: its models.
        started: when the server began, seconds since the epoch.

    Returns:
        One family after the other.
    """
    lines: list[str] = []
    for family in (_of_traffic(traffic, started), _of_loads(repository), _of_models(repository)):
        lines += family
    return "\n".join(lines) + "\n"


def _of_traffic(traffic: Traffic, started: float) -> Iterator[str]:
    def by_code(counts: dict[int, int]) -> list[Sample]:
        return [({"code": str(code)}, count) for code, count in sorted(counts.items())]

    yield from _family("answers_total", "counter", "answers sent", by_code(traffic.answers))
    yield from _family(
        "shed_total", "counter", "requests turned away unread", by_code(traffic.refused)
    )
    for name, value, told in (
        ("connections", traffic.connections, "open connections"),
        ("in_flight", traffic.in_flight, "requests being answered"),
        ("buffered_bytes", traffic.buffered, "bytes of bodies being held"),
        ("draining", int(traffic.draining), "1 when the server was told to end"),
        ("start_time_seconds", started, "when the server began, seconds since the epoch"),
        ("resident_memory_bytes", _resident_bytes(), "memory in use"),
    ):
        yield from _family(name, "gauge", told, [({}, value)])


def _of_loads(repository: Repository) -> Iterator[str]:
    slots = repository.slots.items()
    yield from _family(
        "model_ready",
        "gauge",
        "1 when the model is served",
        [({"model": name}, int(slot.model is not None)) for name, slot in slots],
    )
    yield from _family(
        "model_stale",
        "gauge",
        "1 when its last load failed and an older version is served, or none",
        [({"model": name}, int(slot.stale)) for name, slot in slots],
    )
    yield from _family(
        "model_loads_total",
        "counter",
        "bundles opened",
        [
            ({"model": name, "outcome": outcome}, count)
            for name, slot in slots
            for outcome, count in (("served", slot.loads), ("refused", slot.failures))
        ],
    )


def _of_models(repository: Repository) -> Iterator[str]:
    models = [(_labels(model), model) for model in repository.models()]

    def count(name: str, told: str, kind: str = "counter", **values: str) -> Iterator[str]:
        samples = [
            ({**labels, "outcome": outcome} if outcome else labels, getattr(one.statistics, field))
            for labels, one in models
            for outcome, field in values.items()
        ]
        return _family(name, kind, told, samples)

    info = [({**labels, "provider": one.predictor.provider}, 1) for labels, one in models]
    yield from _family("model_info", "gauge", "what is served, on what", info)
    yield from count("inferences_total", "requests", answered="requests", refused="failed")
    yield from _family(
        "rows_total", "counter", "rows answered", [(to, one.statistics.rows) for to, one in models]
    )
    yield from _family(
        "queue_depth",
        "gauge",
        "requests waiting for the end of the tick",
        [(labels, one.batch.depth) for labels, one in models],
    )
    yield from _histograms(models)
    yield from _family("out_of_range_total", "counter", _OUTSIDE, list(_outside(models)))


_OUTSIDE: Final = "values outside the range of training and unseen categories, scored anyway"


def _histograms(models: list[tuple[Labels, ServedModel]]) -> Iterator[str]:
    yield from _head("inference_seconds", "histogram", "from a request's last byte to its answer")
    for labels, model in models:
        counts = model.statistics
        yield from _buckets(
            "inference_seconds", labels, LATENCY_S, counts.latency, counts.latency_sum
        )
    yield from _head("batch_rows", "histogram", "rows given to the model in one call")
    for labels, model in models:
        counts = model.statistics
        yield from _buckets("batch_rows", labels, BATCH_ROWS, counts.batches, counts.batch_sum)


def _outside(models: list[tuple[Labels, ServedModel]]) -> Iterator[Sample]:
    for labels, model in models:
        ranges = model.screen.ranges
        for name, counts in ranges.report().items():
            if name in ranges.open:
                yield {**labels, "feature": name, "side": "unseen"}, counts.unseen
            else:
                yield {**labels, "feature": name, "side": "below"}, counts.below
                yield {**labels, "feature": name, "side": "above"}, counts.above


def _labels(model: ServedModel) -> Labels:
    return {"model": model.name, "version": model.version}


def _family(name: str, kind: str, told: str, samples: Iterable[Sample]) -> Iterator[str]:
    yield from _head(name, kind, told)
    for labels, value in samples:
        yield _sample(name, labels, value)


def _head(name: str, kind: str, told: str) -> Iterator[str]:
    yield f"# HELP {_PREFIX}{name} {told}"
    yield f"# TYPE {_PREFIX}{name} {kind}"


def _buckets(
    name: str, labels: Labels, ends: Sequence[float], counts: Sequence[int], total: float
) -> Iterator[str]:
    for end, count in zip([*map(str, ends), "+Inf"], accumulate(counts), strict=True):
        yield _sample(f"{name}_bucket", {**labels, "le": end}, count)
    yield _sample(f"{name}_sum", labels, total)
    yield _sample(f"{name}_count", labels, sum(counts))


def _sample(name: str, labels: Labels, value: float) -> str:
    inner = ",".join(f'{key}="{text.translate(_ESCAPED)}"' for key, text in labels.items())
    return f"{_PREFIX}{name}{{{inner}}} {value}" if inner else f"{_PREFIX}{name} {value}"


def _resident_bytes() -> int:
    """Ask Linux for the memory in use; 0 elsewhere."""
    try:
        with open("/proc/self/statm", "rb") as stream:  # noqa: PTH123 - pathlib has no gain here
            return int(stream.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return 0
