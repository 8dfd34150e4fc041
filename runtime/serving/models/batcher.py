"""Micro-batching: requests of one event loop iteration share one call of the model.

The first rows of an iteration schedule the batch for its end, when all readable sockets were read:
no delay for a single client, one call for many. A row's prediction does not depend on its batch.
Larger requests run alone in a thread. Not thread-safe: for the event loop's thread.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Protocol

import numpy as np

from runtime.errors import OnnxferryError, RequestError
from runtime.io.processors import available_processors
from runtime.schema.matrix import mark_missing, round_rows
from runtime.serving.http.messages import INTERNAL_ERROR
from runtime.serving.models.statistics import Durations
from runtime.value import Value

if TYPE_CHECKING:
    from collections.abc import Sequence

    from runtime.monitoring.ranges import Counts
    from runtime.predictor import Predictor
    from runtime.schema.features import Float32Matrix
    from runtime.serving.models.input_validation import InputValidator
    from runtime.serving.models.statistics import Statistics
    from runtime.serving.v2.tensors import Numbers
    from runtime.session import Outputs
    from runtime.telemetry.spans import Span


class BatchResult(Value, frozen=True, gc=False):
    """The model's outputs for a batch, or for one request of it.

    Attributes:
        outputs: ``(rows, …)``.
        started: ``time.perf_counter_ns`` when the batch was assembled.
        called: likewise, when the model was called.
        durations: of the whole batch.
        outside: values outside the training ranges in the batch; None where there are none.
    """

    outputs: Outputs
    started: int
    called: int
    durations: Durations
    outside: Counts | None = None

    def slice(self, start: int, end: int) -> BatchResult:
        """Return the result of one request's rows."""
        outputs = self.outputs.slice(start, end)
        return BatchResult(outputs, self.started, self.called, self.durations)


class PreparedBatch(Value, frozen=True, gc=False):
    """Validated rows.

    Attributes:
        features: ``(rows, n_inputs)`` float32.
        outside: values outside the training ranges; None where there are none.
        started: ``time.perf_counter_ns`` when they were assembled.
        input_ns: duration of rounding and validation, nanoseconds.
    """

    features: Float32Matrix
    outside: Counts | None
    started: int
    input_ns: int


Done = Callable[[BatchResult | OnnxferryError], None]


class PendingRequest(Value, frozen=True, gc=False):
    """Rows of a request, ``(rows, n_inputs)``, its callback, and its span where it has one."""

    features: Numbers
    done: Done
    span: Span | None = None


class BatchObserver(Protocol):
    """Records the batches of a model, for telemetry."""

    def current(self) -> Span | None:
        """Return the span of the request that is handled."""

    def record(self, requests: Sequence[PendingRequest], result: BatchResult) -> None:
        """Record a batch, before its requests receive their results."""

    def record_table(self, rows: tuple[int, int], start_ns: int, model_s: float) -> None:
        """Record a table that was scored outside the batches; ``rows`` are scored and bad ones."""


class Executor:
    """Runs one model: ``run`` in any thread, the rest in the event loop's.

    ``run`` reacquires the GIL once, after onnxruntime: each time may wait for the event loop.
    """

    def __init__(
        self, predictor: Predictor, validator: InputValidator, statistics: Statistics
    ) -> None:
        """Run ``predictor`` and count its calls in ``statistics``."""
        self._predictor, self._validator, self._statistics = predictor, validator, statistics

    def execute(self, features: Numbers) -> BatchResult:
        """Prepare, run and record a batch."""
        return self.record(self.run(self.prepare(features)))

    def prepare(self, features: Numbers) -> PreparedBatch:
        """Round to float32 and validate; raises ``RequestError``."""
        started = time.perf_counter_ns()
        numbers = self._predictor.schema.missing_numbers
        rounded = mark_missing(round_rows(features), numbers)
        outside = self._validator.validate(rounded)
        return PreparedBatch(rounded, outside, started, time.perf_counter_ns() - started)

    def run(self, batch: PreparedBatch) -> BatchResult:
        """Run the model; the outputs are not validated yet."""
        before = time.perf_counter_ns()
        outputs = self._predictor.run(batch.features)
        durations = Durations(batch.input_ns, time.perf_counter_ns() - before)
        return BatchResult(outputs, batch.started, before, durations, batch.outside)

    def record(self, result: BatchResult) -> BatchResult:
        """Validate the outputs and count the call; raises ``RequestError`` if not finite."""
        outputs = result.outputs
        if not outputs.is_finite:
            row = int(np.argmin(outputs.finite_rows()))
            raise RequestError(f"row {row}: the model's output is not finite; leave such rows out")
        self._statistics.count_execution(len(outputs.label), result.durations)
        if result.outside is not None:
            self._validator.ranges.counts += result.outside
        return result


class MicroBatcher:
    """Collects the requests of the current event loop iteration for one model.

    Attributes:
        observer: records the batches; None without telemetry.
    """

    def __init__(self, executor: Executor, max_rows: int) -> None:
        """Begin empty; a batch of ``max_rows`` runs at once, a larger request in a thread."""
        self._executor, self._max_rows = executor, max_rows
        self._pending: list[PendingRequest] = []
        self._rows = 0
        self._is_scheduled = False
        self._in_threads = 0
        self._threads: ThreadPoolExecutor | None = None  # created at the first large request
        self.observer: BatchObserver | None = None

    @property
    def depth(self) -> int:
        """The number of pending requests."""
        return len(self._pending) + self._in_threads

    def submit(self, features: Numbers, done: Done) -> None:
        """Queue rows, ``(rows, n_inputs)`` float32 or float64; ``done`` receives the result."""
        span = None if self.observer is None else self.observer.current()
        request = PendingRequest(features, done, span)
        if len(features) > self._max_rows:
            self._run_in_thread(request)
            return
        if self._rows + len(features) > self._max_rows:
            self.flush()
        self._pending.append(request)
        self._rows += len(features)
        if self._rows >= self._max_rows:
            self.flush()
        elif not self._is_scheduled:
            self._is_scheduled = True
            asyncio.get_running_loop().call_soon(self._end_iteration)

    def flush(self) -> None:
        """Run everything that is queued."""
        pending, self._pending, self._rows = self._pending, [], 0
        if pending:
            self._run_batch(pending)

    def _end_iteration(self) -> None:
        self._is_scheduled = False
        self.flush()

    def _run_batch(self, batch: list[PendingRequest]) -> None:
        try:
            result = self._executor.execute(_concatenate(batch))
        except OnnxferryError as exc:
            if len(batch) == 1:
                batch[0].done(exc)
                return
            for one in batch:  # so that only the invalid ones fail
                self._run_batch([one])
            return
        if self.observer is not None:
            self.observer.record(batch, result)
        if len(batch) == 1:
            batch[0].done(result)
            return
        start = 0
        for one in batch:
            end = start + len(one.features)
            one.done(result.slice(start, end))
            start = end

    def _run_in_thread(self, request: PendingRequest) -> None:
        """Run a large request in a thread: onnxruntime releases the GIL."""
        try:
            batch = self._executor.prepare(request.features)
        except OnnxferryError as exc:
            request.done(exc)
            return
        if self._threads is None:
            threads = max(available_processors() - 1, 1)  # one processor is the event loop's
            self._threads = ThreadPoolExecutor(threads, "model")
        loop = asyncio.get_running_loop()
        self._in_threads += 1

        def finish(future: Future[BatchResult]) -> None:
            loop.call_soon_threadsafe(self._finish, future, request)

        self._threads.submit(self._executor.run, batch).add_done_callback(finish)

    def _finish(self, future: Future[BatchResult], request: PendingRequest) -> None:
        self._in_threads -= 1
        try:
            result = self._executor.record(future.result())
        except OnnxferryError as exc:
            request.done(exc)
        except BaseException:
            request.done(OnnxferryError(INTERNAL_ERROR))
            raise  # logged by the event loop
        else:
            if self.observer is not None:
                self.observer.record([request], result)
            request.done(result)


def _concatenate(batch: list[PendingRequest]) -> Numbers:
    if len(batch) == 1:
        return batch[0].features
    return np.concatenate([one.features for one in batch])
