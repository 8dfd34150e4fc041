"""What a served model has done, in the terms of Triton's statistics extension, and a little more.

Times are nanoseconds. For one thread: all is counted in the event loop.
"""

from __future__ import annotations

import time
from bisect import bisect_left
from typing import Final

from runtime.value import Value

# Upper ends of the histograms' buckets; the last bucket has none.
LATENCY_S: Final = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)
BATCH_ROWS: Final = (1, 4, 16, 64, 256, 1024, 4096, 16_384, 65_536, 262_144)
_MOST_SIZES: Final = 256  # batch sizes told apart; a client must not make us remember each


class Durations(Value, frozen=True, gc=False):
    """Where the time of one call of the model went, nanoseconds.

    Attributes:
        joined: putting the requests' rows together and rounding them.
        inferred: in onnxruntime.
    """

    joined: int
    inferred: int


class Statistics:
    """Counts of one version of a model, since it was loaded.

    Attributes:
        requests: answered.
        failed: refused once the model was known.
        rows: answered.
        executions: calls of the model.
        latency: requests by bucket of ``LATENCY_S``, and their sum in seconds.
        batches: calls of the model by bucket of ``BATCH_ROWS``, and the sum of their rows.
    """

    def __init__(self) -> None:
        """Begin at nothing."""
        self.requests = self.failed = self.rows = self.executions = 0
        self.latency = [0] * (len(LATENCY_S) + 1)
        self.latency_sum = 0.0
        self.batches = [0] * (len(BATCH_ROWS) + 1)
        self.batch_sum = 0
        self.last_ms = 0
        self._success = self._fail = self._queue = self._parse = self._infer = self._encode = 0
        self._sizes: dict[int, list[int]] = {}

    def count_execution(self, rows: int, took: Durations) -> None:
        """Count one call of the model."""
        self.executions += 1
        self.batches[bisect_left(BATCH_ROWS, rows)] += 1
        self.batch_sum += rows
        self.last_ms = time.time_ns() // 1_000_000
        if rows in self._sizes or len(self._sizes) < _MOST_SIZES:
            size = self._sizes.setdefault(rows, [0, 0, 0])
            size[0] += 1
            size[1] += took.joined
            size[2] += took.inferred

    def count_answer(self, rows: int, waited: int, took: Durations, total: int) -> None:
        """Count an answered request.

        Args:
            rows: of the request.
            waited: from its arrival until its rows were put together with others'.
            took: the call of the model that it was part of.
            total: from its arrival until its answer was written.
        """
        self.requests += 1
        self.rows += rows
        self._success += total
        self._queue += waited
        self._parse += took.joined
        self._infer += took.inferred
        self._encode += max(total - waited - took.joined - took.inferred, 0)
        seconds = total / 1e9
        self.latency[bisect_left(LATENCY_S, seconds)] += 1
        self.latency_sum += seconds

    def count_failure(self, total: int) -> None:
        """Count a refused request, ``total`` after its arrival."""
        self.failed += 1
        self._fail += total

    def values(self, name: str, version: str) -> dict[str, object]:
        """Write the statistics as Triton's extension spells them.

        Args:
            name: of the model.
            version: of the model.

        Returns:
            One entry of ``model_stats``.
        """
        done = self.requests

        def duration(ns: int, count: int = done) -> dict[str, int]:
            return {"count": count, "ns": ns}

        return {
            "name": name,
            "version": version,
            "last_inference": self.last_ms,
            "inference_count": self.rows,
            "execution_count": self.executions,
            "inference_stats": {
                "success": duration(self._success),
                "fail": duration(self._fail, self.failed),
                "queue": duration(self._queue),
                "compute_input": duration(self._parse),
                "compute_infer": duration(self._infer),
                "compute_output": duration(self._encode),
                "cache_hit": duration(0, 0),
                "cache_miss": duration(0, 0),
            },
            "batch_stats": [
                {
                    "batch_size": rows,
                    "compute_input": duration(joined, count),
                    "compute_infer": duration(inferred, count),
                    "compute_output": duration(0, count),
                }
                for rows, (count, joined, inferred) in sorted(self._sizes.items())
            ],
            "memory_usage": [],
        }
