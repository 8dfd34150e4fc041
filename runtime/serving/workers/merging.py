"""Add up what several workers have counted. No errors."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec
from msgspec.structs import replace

from runtime.serving.http.message import json_response

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from runtime.serving.http.message import Response

_STARTED: Final = "onnxferry_start_time_seconds"
# Where the sum of all workers says nothing.
_NOT_SUMMED: Final[dict[str, Callable[[float, float], float]]] = {
    "onnxferry_draining": max,
    "onnxferry_model_info": max,
    "onnxferry_model_ready": min,
    "onnxferry_model_stale": max,
    _STARTED: min,
    "last_inference": max,
    "batch_size": max,
}


def merge_metrics(answers: Sequence[Response]) -> Response:
    """Add up metrics.

    Args:
        answers: one a worker, in Prometheus's text format.

    Returns:
        The same, of all: each family once, with the samples that any worker has.
    """
    families: dict[str, dict[str, float]] = {}
    for answer in answers:
        samples: dict[str, float] = {}
        for line in b"".join(answer.body).decode().splitlines():
            if line.startswith("# HELP"):
                samples = families.setdefault(line, {})
            elif line.startswith("# TYPE"):
                samples.setdefault(line, 0.0)
            else:
                name, _, value = line.rpartition(" ")
                known = samples.get(name)
                samples[name] = float(value) if known is None else _add(name, known, float(value))
    lines = [line for head, samples in families.items() for line in (head, *_write(samples))]
    return replace(answers[0], body=(("\n".join(lines) + "\n").encode(),))


def counters_of(answer: Response) -> bytes:
    """Take what only ever grows, and when the server began.

    Args:
        answer: in Prometheus's text format.

    Returns:
        Its counters and histograms, in the same format.
    """
    kept, told, grows = [], "", False
    for line in b"".join(answer.body).decode().splitlines():
        if line.startswith("# HELP"):
            told = line
        elif line.startswith("# TYPE"):
            grows = line.endswith((" counter", " histogram", f"{_STARTED} gauge"))
            kept += [told, line] if grows else []
        elif grows:
            kept.append(line)
    return ("\n".join(kept) + "\n").encode()


def _write(samples: dict[str, float]) -> list[str]:
    return [
        name if name.startswith("#") else f"{name} {int(value) if value.is_integer() else value}"
        for name, value in samples.items()
    ]


def merge_statistics(answers: Sequence[Response]) -> Response:
    """Add up statistics.

    Args:
        answers: one a worker, with ``model_stats``.

    Returns:
        The same, of all.
    """
    found = [msgspec.json.decode(b"".join(answer.body))["model_stats"] for answer in answers]
    return json_response({"model_stats": _merge_lists(found, ("name", "version"))})


def _merge_lists(lists: list[list[Any]], key: tuple[str, ...]) -> list[Any]:
    """Join objects that have the same key."""
    merged: dict[tuple[Any, ...], dict[str, Any]] = {}
    for one in (one for each in lists for one in each):
        identity = tuple(one[name] for name in key)
        known = merged.get(identity)
        merged[identity] = one if known is None else _merge_objects(known, one)
    return list(merged.values())


def _merge_objects(first: dict[str, Any], second: dict[str, Any]) -> dict[str, Any]:
    return {name: _merge(name, value, second[name]) for name, value in first.items()}


def _merge(name: str, first: Any, second: Any) -> Any:  # noqa: ANN401 - whatever JSON holds
    if isinstance(first, dict):
        return _merge_objects(first, second)
    if isinstance(first, list):
        return _merge_lists([first, second], ("batch_size",))
    return first if isinstance(first, str) else _add(name, first, second)


def _add(name: str, first: Any, second: Any) -> Any:  # noqa: ANN401 - int or float, as they are
    join = _NOT_SUMMED.get(name.partition("{")[0])
    return join(first, second) if join else first + second
