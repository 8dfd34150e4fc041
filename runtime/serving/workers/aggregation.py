"""Metrics and statistics of all workers.

Metrics go through prometheus_client's multiprocess files: each worker replaces its own before
they are read; those of dead workers are kept, so counters are monotonic across restarts.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec
from msgspec.structs import replace
from prometheus_client.mmap_dict import MmapedDict, mmap_key
from prometheus_client.multiprocess import MultiProcessCollector

from runtime.serving.observability.metrics import FAMILIES, Family, Histogram

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from prometheus_client import Metric

    from runtime.serving.http.messages import Response
    from runtime.serving.observability.metrics import LabelValues, Samples

_ENTRY_BYTES: Final = 40  # of a sample in a file without its key: size, padding, value, timestamp
_INFINITY: Final = float("inf")
_MAXIMA: Final = frozenset({"last_inference", "batch_size"})  # of statistics, not summed


# ---- Metrics ---------------------------------------------------------------------------------


def save_metrics(folder: Path, process: str, metrics: Mapping[str, Samples]) -> None:
    """Replace the files of a process; raises ``OSError`` on a full disk."""
    files: dict[str, dict[str, float]] = {}
    for family in FAMILIES:
        gauge = f"gauge_{family.multiprocess_mode}"
        entries = files.setdefault(gauge if family.kind == "gauge" else family.kind, {})
        for suffix, labels, value in _flatten(family, metrics[family.name]):
            name = family.name
            key = mmap_key(name, name + suffix, list(labels), list(labels.values()), "")
            entries[key] = value
    for kind, entries in files.items():
        path = folder / f"{kind}_{process}.db"
        temporary = path.with_suffix(".tmp")
        size = sum(len(key.encode()) + _ENTRY_BYTES for key in entries)
        temporary.write_bytes(bytes(size + _ENTRY_BYTES))  # a full disk fails here, not in the mmap
        store = MmapedDict(str(temporary))
        for key, value in entries.items():
            store.write_value(key, value, 0.0)
        store.close()
        temporary.replace(path)


def load_metrics(folder: Path) -> dict[str, Samples]:
    """Aggregate the files of all workers."""
    files = [str(path) for path in sorted(folder.glob("*.db"))]
    found = {one.name: one for one in MultiProcessCollector.merge(files, accumulate=False)}
    return {
        family.name: _collect(family, found[family.name])
        for family in FAMILIES
        if family.name in found
    }


def _flatten(family: Family, samples: Samples) -> Iterator[tuple[str, dict[str, str], float]]:
    """Yield the suffix, labels and value of each sample, as prometheus_client stores them."""
    for values, value in samples.items():
        labels = dict(zip(family.labels, values, strict=True))
        if isinstance(value, Histogram):
            for bound, count in zip((*family.buckets, _INFINITY), value.counts, strict=True):
                yield "_bucket", {**labels, "le": str(bound)}, count
            yield "_sum", labels, value.total
        else:
            yield "", labels, value


def _collect(family: Family, metric: Metric) -> Samples:
    samples: dict[LabelValues, float | Histogram] = {}
    counts: dict[LabelValues, dict[float, int]] = {}
    for one in metric.samples:
        values = tuple(one.labels[name] for name in family.labels)
        if one.name.endswith("_bucket"):
            counts.setdefault(values, {})[float(one.labels["le"])] = int(one.value)
        else:
            samples[values] = one.value
    for values, buckets in counts.items():
        by_bound = [buckets[bound] for bound in (*family.buckets, _INFINITY)]
        samples[values] = Histogram(by_bound, samples[values])  # type: ignore[arg-type]
    return samples


# ---- Statistics ------------------------------------------------------------------------------


def merge_statistics(responses: Sequence[Response]) -> Response:
    """Sum the ``model_stats`` of several workers."""
    entries: list[Any] = []
    for one in responses:
        entries = _merge("", entries, msgspec.json.decode(b"".join(one.body))["model_stats"])
    return replace(responses[0], body=(msgspec.json.encode({"model_stats": entries}),))


def _merge(name: str, first: Any, second: Any) -> Any:  # noqa: ANN401 - any JSON value
    if isinstance(first, dict):
        return {key: _merge(key, value, second[key]) for key, value in first.items()}
    if isinstance(first, list):
        merged = {_identity(one): one for one in first}
        for one in second:
            key = _identity(one)
            merged[key] = _merge(name, merged[key], one) if key in merged else one
        return list(merged.values())
    if isinstance(first, str):
        return first
    return max(first, second) if name in _MAXIMA else first + second


def _identity(entry: dict[str, Any]) -> tuple[Any, ...]:
    """Return the key of a list's entry: a model's version, or a batch size."""
    return (entry.get("name"), entry.get("version"), entry.get("batch_size"))
