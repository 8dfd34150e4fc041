"""Join what has arrived in one tick of the event loop into one call of the model.

Nobody waits for company: the first rows of a tick ask the loop to run the batch as soon as all
sockets that are ready have been read. At one connection that costs nothing; at many, one call
answers them all. A row's answer does not depend on its batch. A request too large to share a call
has one of its own, in a thread, while the loop reads and answers others. For the event loop's
thread.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Final

import numpy as np

from runtime.errors import OnnxferryError
from runtime.serving.models.calling import Batched, Caller
from runtime.value import Value

if TYPE_CHECKING:
    from runtime.serving.protocol.tensors import Numbers

Done = Callable[[Batched | OnnxferryError], None]

_THREADS: Final = max((os.cpu_count() or 1) - 1, 1)  # the loop needs a processor for itself


class Waiting(Value, frozen=True, gc=False):
    """Rows that wait for the end of the tick: ``(rows, n_inputs)``, and who is told."""

    features: Numbers
    done: Done


class TickBatch:
    """One model's rows of the current tick."""

    def __init__(self, caller: Caller, most_rows: int) -> None:
        """Begin empty.

        Args:
            caller: calls the model, and counts the calls.
            most_rows: in one call; it is made as soon as so many wait, and a request with more
                has a call of its own, in a thread.
        """
        self._caller, self._most_rows = caller, most_rows
        self._waiting: list[Waiting] = []
        self._rows = 0
        self._is_due = False
        self._beside = 0  # large requests, in threads
        self._threads: ThreadPoolExecutor | None = None  # until there is a large request

    @property
    def depth(self) -> int:
        """How many requests wait."""
        return len(self._waiting) + self._beside

    def submit(self, features: Numbers, done: Done) -> None:
        """Have rows answered at the end of the tick, or at once when they fill a call.

        Args:
            features: ``(rows, n_inputs)`` float32, or float64 that is rounded then.
            done: told of the answer, or of the error that refuses these rows.
        """
        if len(features) > self._most_rows:
            self._run_beside(features, done)
            return
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
            batch = self._caller.call(_join(group))
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
            one.done(batch.slice(start, end))
            start = end

    # ---- Beside the loop ---------------------------------------------------------------------

    def _run_beside(self, features: Numbers, done: Done) -> None:
        """Call the model in a thread; onnxruntime holds no lock of Python's while it computes."""
        try:
            ready = self._caller.prepare(features)
        except OnnxferryError as exc:
            done(exc)
            return
        if self._threads is None:
            self._threads = ThreadPoolExecutor(_THREADS, "model")
        loop = asyncio.get_running_loop()
        self._beside += 1

        def tell(future: Future[Batched]) -> None:
            loop.call_soon_threadsafe(self._take, future, done)

        self._threads.submit(self._caller.run, ready).add_done_callback(tell)

    def _take(self, future: Future[Batched], done: Done) -> None:
        """Hand on what a thread has computed."""
        self._beside -= 1
        try:
            batch = self._caller.count(future.result())
        except OnnxferryError as exc:
            done(exc)
        except BaseException:
            done(OnnxferryError("a bug of the server; its log says more"))
            raise  # into the log
        else:
            done(batch)


def _join(group: list[Waiting]) -> Numbers:
    if len(group) == 1:
        return group[0].features
    return np.concatenate([one.features for one in group])
