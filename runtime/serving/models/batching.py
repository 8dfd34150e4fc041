"""Join what has arrived in one tick of the event loop into one call of the model.

Nobody waits for company: the first rows of a tick ask the loop to run the batch as soon as all
sockets that are ready have been read. At one connection that costs nothing; at many, one call
answers them all. A row's answer does not depend on its batch. For the event loop's thread.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from runtime.errors import OnnxferryError, RequestError
from runtime.schema import round_rows
from runtime.serving.models.statistics import Durations
from runtime.value import Value

if TYPE_CHECKING:
    from runtime.predictor import Predictor
    from runtime.serving.models.screening import Screen
    from runtime.serving.models.statistics import Statistics
    from runtime.serving.protocol.tensors import Numbers
    from runtime.session import Outputs


class Batched(Value, frozen=True, gc=False):
    """The answer to one request's rows.

    Attributes:
        outputs: ``(rows, …)``.
        started: nanoseconds of ``time.perf_counter_ns`` at which the batch was put together.
        took: the call that they were part of.
    """

    outputs: Outputs
    started: int
    took: Durations


Done = Callable[[Batched | OnnxferryError], None]


class Waiting(Value, frozen=True, gc=False):
    """Rows that wait for the end of the tick: ``(rows, n_inputs)``, and who is told."""

    features: Numbers
    done: Done


class TickBatch:
    """One model's rows of the current tick."""

    def __init__(
        self,
        predictor: Predictor,
        statistics: Statistics,
        most_rows: int,
        screen: Screen,
    ) -> None:
        """Begin empty.

        Args:
            predictor: the model.
            statistics: count the calls.
            most_rows: in one call; it is made as soon as so many wait, and a request with more
                has a call of its own.
            screen: looks at the rows of each call.
        """
        self._predictor, self._statistics = predictor, statistics
        self._most_rows, self._screen = most_rows, screen
        self._waiting: list[Waiting] = []
        self._rows = 0
        self._is_due = False

    @property
    def depth(self) -> int:
        """How many requests wait."""
        return len(self._waiting)

    def submit(self, features: Numbers, done: Done) -> None:
        """Have rows answered at the end of the tick, or at once when they fill a call.

        Args:
            features: ``(rows, n_inputs)`` float32, or float64 that is rounded then.
            done: told of the answer, or of the error that refuses these rows.
        """
        if self._rows + len(features) > self._most_rows:
            self.run()
        self._waiting.append(Waiting(features, done))
        self._rows += len(features)
        if self._rows >= self._most_rows:
            self.run()
        elif not self._is_due:
            self._is_due = True
            asyncio.get_running_loop().call_soon(self._end_tick)

    def run(self) -> None:
        """Answer everything that waits."""
        waiting, self._waiting, self._rows = self._waiting, [], 0
        if waiting:
            self._run_group(waiting)

    def _end_tick(self) -> None:
        self._is_due = False
        self.run()

    def _run_group(self, group: list[Waiting]) -> None:
        try:
            batch = self._call(_join(group))
        except OnnxferryError as exc:
            if len(group) == 1:
                group[0].done(exc)
                return
            for one in group:  # the bad ones alone are refused
                self._run_group([one])
            return
        if len(group) == 1:
            group[0].done(batch)
            return
        start = 0
        for one in group:
            end = start + len(one.features)
            one.done(Batched(batch.outputs.slice(start, end), batch.started, batch.took))
            start = end

    def _call(self, joined: Numbers) -> Batched:
        started = time.perf_counter_ns()
        features = round_rows(joined)
        self._screen.check(features)
        before = time.perf_counter_ns()
        outputs = self._predictor.run(features)
        took = Durations(before - started, time.perf_counter_ns() - before)
        if not outputs.is_finite:
            row = int(np.argmin(outputs.finite_rows()))
            raise RequestError(f"row {row}: the model has no finite answer; leave such rows out")
        self._statistics.count_execution(len(features), took)
        return Batched(outputs, started, took)


def _join(group: list[Waiting]) -> Numbers:
    if len(group) == 1:
        return group[0].features
    return np.concatenate([one.features for one in group])
