"""Statistics of a served model, for Triton's statistics extension and the metrics.

Durations are nanoseconds. Not thread-safe: for the event loop's thread.
"""

from __future__ import annotations

import time
from bisect import bisect_left
from typing import Final

from runtime.value import Value

# Upper bounds of the histograms' buckets; the last bucket is unbounded.
LATENCY_S: Final = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)
BATCH_ROWS: Final = (1, 4, 16, 64, 256, 1024, 4096, 16_384, 65_536, 262_144)
_MAX_SIZES: Final = 256  # distinct batch sizes that are kept, which bounds the memory


class Durations(Value, frozen=True, gc=False):
    """Durations of one call of the model.

    Attributes:
        input_ns: concatenating, rounding and validating the inputs.
        infer_ns: in onnxruntime.
    """

    input_ns: int
    infer_ns: int


class Statistics:
    """Counters of one version of a model since it was loaded.

    Attributes:
        requests: successful.
        failed: failed after the model was found.
        rows: of the successful requests.
        executions: calls of the model.
        latency: requests by bucket of ``LATENCY_S``.
        latency_sum: seconds.
        batches: calls of the model by bucket of ``BATCH_ROWS``.
        batch_sum: rows of all calls.
    """

    def __init__(self) -> None:
        """Begin at zero."""
        self.requests = self.failed = self.rows = self.executions = 0
        self.latency = [0] * (len(LATENCY_S) + 1)
        self.latency_sum = 0.0
        self.batches = [0] * (len(BATCH_ROWS) + 1)
        self.batch_sum = 0
        self.last_ms = 0
        self._success = self._fail = self._queue = self._input = self._infer = self._output = 0
        self._sizes: dict[int, list[int]] = {}

    def count_execution(self, rows: int, durations: Durations) -> None:
        """Count one call of the model."""
        self.executions += 1
        self.batches[bisect_left(BATCH_ROWS, rows)] += 1
        self.batch_sum += rows
        self.last_ms = time.time_ns() // 1_000_000
        if rows in self._sizes or len(self._sizes) < _MAX_SIZES:
            size = self._sizes.setdefault(rows, [0, 0, 0])
            size[0] += 1
            size[1] += durations.input_ns
            size[2] += durations.infer_ns

    def count_success(self, rows: int, queued_ns: int, durations: Durations, total_ns: int) -> None:
        """Count a successful request.

        ``queued_ns`` is from its arrival until its batch was assembled, ``durations`` are those of
        the batch, ``total_ns`` is from its arrival until its response was written.
        """
        self.requests += 1
        self.rows += rows
        self._success += total_ns
        self._queue += queued_ns
        self._input += durations.input_ns
        self._infer += durations.infer_ns
        self._output += max(total_ns - queued_ns - durations.input_ns - durations.infer_ns, 0)
        seconds = total_ns / 1e9
        self.latency[bisect_left(LATENCY_S, seconds)] += 1
        self.latency_sum += seconds

    def count_failure(self, total_ns: int) -> None:
        """Count a failed request, ``total_ns`` after its arrival."""
        self.failed += 1
        self._fail += total_ns

    def values(self, name: str, version: str) -> dict[str, object]:
        """Return one entry of ``model_stats``, as in Triton's extension."""
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
                "compute_input": duration(self._input),
                "compute_infer": duration(self._infer),
                "compute_output": duration(self._output),
                "cache_hit": duration(0, 0),
                "cache_miss": duration(0, 0),
            },
            "batch_stats": [
                {
                    "batch_size": rows,
                    "compute_input": duration(input_ns, count),
                    "compute_infer": duration(infer_ns, count),
                    "compute_output": duration(0, count),
                }
                for rows, (count, input_ns, infer_ns) in sorted(self._sizes.items())
            ],
            "memory_usage": [],
        }
