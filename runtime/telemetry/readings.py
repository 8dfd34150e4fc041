"""Metrics as they are read: sums, gauges and histograms, cumulative since the start."""

from __future__ import annotations

from bisect import bisect_left
from typing import TYPE_CHECKING, Literal

from runtime.value import Value

if TYPE_CHECKING:
    from collections.abc import Sequence

    from runtime.telemetry.spans import Attribute

    Attributes = tuple[tuple[str, Attribute], ...]


class Distribution(Value, frozen=True):
    """Observations by bucket.

    Attributes:
        bounds: upper bounds of the buckets, inclusive; the last bucket has none.
        counts: one more than the bounds.
        total: sum of the observations.
    """

    bounds: Sequence[float]
    counts: Sequence[int]
    total: float


class Point(Value, frozen=True):
    """A value of a metric.

    Attributes:
        attributes: by name.
        value: of a sum or gauge, or the observations of a histogram.
    """

    attributes: Attributes
    value: float | Distribution


class Reading(Value, frozen=True):
    """A metric and its values.

    Attributes:
        name: with dots between its parts.
        unit: of UCUM, or what is counted in braces.
        help: description.
        kind: ``counter`` only grows, ``updown`` is summed over processes, ``gauge`` is not.
        points: values by their attributes.
    """

    name: str
    unit: str
    help: str
    kind: Literal["counter", "updown", "gauge", "histogram"]
    points: Sequence[Point]


class DurationHistogram:
    """Counts durations by attributes; for one thread.

    The bounds are those that the semantic conventions advise for ``http.server.request.duration``
    and ``rpc.server.call.duration``, with three below 5 ms, where most answers of one row are.
    """

    BOUNDS_S = (
        *(0.0005, 0.001, 0.0025),
        *(0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0),
    )
    _MAX_SERIES = 1000  # combinations of attributes, which bounds the memory

    def __init__(self) -> None:
        """Begin empty."""
        self._counts: dict[Attributes, list[int]] = {}
        self._totals: dict[Attributes, float] = {}

    def record(self, attributes: Attributes, seconds: float) -> None:
        """Count a duration; of too many combinations under the name that the SDK uses."""
        counts = self._counts.get(attributes)
        if counts is None:
            if len(self._counts) >= self._MAX_SERIES:
                attributes = (("otel.metric.overflow", True),)
            counts = self._counts.setdefault(attributes, [0] * (len(self.BOUNDS_S) + 1))
        counts[bisect_left(self.BOUNDS_S, seconds)] += 1
        self._totals[attributes] = self._totals.get(attributes, 0.0) + seconds

    def points(self) -> list[Point]:
        """Return the counts so far."""
        return [
            Point(attributes, Distribution(self.BOUNDS_S, (*counts,), self._totals[attributes]))
            for attributes, counts in self._counts.items()
        ]
