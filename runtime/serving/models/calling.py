"""One call of a served model: rows are rounded and looked at, the model answers, all is counted.

In: ``(rows, n_inputs)``. Out: a ``Batched``. Raises ``RequestError`` for rows that cannot be
scored.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import numpy as np

from runtime.errors import RequestError
from runtime.schema.matrix import round_rows
from runtime.serving.models.statistics import Durations
from runtime.value import Value

if TYPE_CHECKING:
    from runtime.monitoring.ranges import Counts
    from runtime.predictor import Predictor
    from runtime.schema.features import Float32Matrix
    from runtime.serving.models.screening import Screen
    from runtime.serving.models.statistics import Statistics
    from runtime.serving.protocol.tensors import Numbers
    from runtime.session import Outputs


class Batched(Value, frozen=True, gc=False):
    """The answer to rows.

    Attributes:
        outputs: ``(rows, …)``.
        started: nanoseconds of ``time.perf_counter_ns`` at which the batch was put together.
        took: the call that they were part of.
        outside: values out of training's range in that call; None where there are none.
    """

    outputs: Outputs
    started: int
    took: Durations
    outside: Counts | None = None

    def slice(self, start: int, end: int) -> Batched:
        """Take one request's rows, from ``start`` to before ``end``."""
        return Batched(self.outputs.slice(start, end), self.started, self.took)


class Ready(Value, frozen=True, gc=False):
    """Rows that the model can be given.

    Attributes:
        features: ``(rows, n_inputs)`` float32.
        outside: values out of training's range; None where there are none.
        started: nanoseconds of ``time.perf_counter_ns`` at which they were put together.
        joined: how long they took to round and to look at, nanoseconds.
    """

    features: Float32Matrix
    outside: Counts | None
    started: int
    joined: int


class Caller:
    """Calls one model; ``run`` in any thread, all else in the event loop's.

    Python's lock is asked for once in ``run``, when onnxruntime is done: each further time would
    be another wait for the loop.
    """

    def __init__(self, predictor: Predictor, screen: Screen, statistics: Statistics) -> None:
        """Take the model.

        Args:
            predictor: the model.
            screen: looks at the rows of each call.
            statistics: count the calls.
        """
        self._predictor, self._screen, self._statistics = predictor, screen, statistics

    def call(self, joined: Numbers) -> Batched:
        """Call the model at once; see ``prepare`` and ``count``."""
        return self.count(self.run(self.prepare(joined)))

    def prepare(self, joined: Numbers) -> Ready:
        """Round rows and look at them.

        Args:
            joined: ``(rows, n_inputs)`` float32, or float64 that is rounded here.

        Returns:
            The rows.

        Raises:
            RequestError: when a value cannot be scored.
        """
        started = time.perf_counter_ns()
        features = round_rows(joined)
        outside = self._screen.check(features)
        return Ready(features, outside, started, time.perf_counter_ns() - started)

    def run(self, ready: Ready) -> Batched:
        """Compute the answer; not yet looked at."""
        before = time.perf_counter_ns()
        outputs = self._predictor.run(ready.features)
        took = Durations(ready.joined, time.perf_counter_ns() - before)
        return Batched(outputs, ready.started, took, ready.outside)

    def count(self, batch: Batched) -> Batched:
        """Look at an answer, and count the call.

        Args:
            batch: of ``run``.

        Returns:
            The same.

        Raises:
            RequestError: when a row has no finite answer.
        """
        outputs = batch.outputs
        if not outputs.is_finite:
            row = int(np.argmin(outputs.finite_rows()))
            raise RequestError(f"row {row}: the model has no finite answer; leave such rows out")
        self._statistics.count_execution(len(outputs.label), batch.took)
        if batch.outside is not None:
            self._screen.ranges.counts += batch.outside
        return batch
