"""The engine of the CPU: ``trainer.engines.step`` in torch's interpreter of TorchScript.

A step of a small network is made of calls that take less time than Python needs to make them.
The interpreter makes the same calls without Python between them: the source of the functions is
given to it as text, which neither loads torch's compiler nor makes machine code.
"""

from __future__ import annotations

import inspect
from functools import cache
from typing import TYPE_CHECKING, Protocol

import torch

from trainer.engines import step
from trainer.engines.buffers import Buffers, untracked, vectors_of
from trainer.engines.state import ALIGNMENT

if TYPE_CHECKING:
    from trainer.engines.gather import Gather
    from trainer.engines.state import State
    from trainer.engines.task import Task


class _RunSteps(Protocol):
    """``step.run_steps``, interpreted."""

    def __call__(
        self,
        rows: list[torch.Tensor],
        layers: list[list[torch.Tensor]],
        heads: list[torch.Tensor],
        class_weights: torch.Tensor | None,
        state: list[torch.Tensor],
        settings: list[float],
    ) -> None: ...


class Written:
    """Makes steps on the CPU, bit for bit those of autograd."""

    def __init__(self, task: Task, state: State, gather: Gather) -> None:
        """Prepare for steps; nothing is computed.

        Args:
            task: batch size, weights of classes, weight decay.
            state: is changed in place.
            gather: gives the rows.
        """
        self._task, self._state, self._gather = task, state, gather
        self._vectors = vectors_of(state)
        self._buffers: dict[int, Buffers] = {}
        # A product may be summed in another order where its operand begins at an odd place.
        self._seated = task.batch_size * gather.n_features % ALIGNMENT != 0

    @torch.inference_mode()
    def run(
        self, order: torch.Tensor, losses: torch.Tensor, *, learning_rate: float, done: int
    ) -> None:
        """Make a step for each batch of rows.

        Args:
            order: positions of rows, ``(rows,)``; only the last batch may be short.
            losses: the mean loss of each batch before its step is written here, ``(steps,)``.
            learning_rate: of these steps.
            done: steps made before these.
        """
        features, labels, losses = map(untracked, (*self._gather(order), losses))
        size = self._task.batch_size
        whole = len(order) // size
        settings = [learning_rate, self._task.weight_decay, float(done)]
        if whole:
            self._run([features, labels, losses[:whole]], size, settings)
        if tail := len(order) - whole * size:
            rows = [features[whole * size :], labels[whole * size :], losses[whole:]]
            self._run(rows, tail, [*settings[:2], float(done + whole)])

    def _run(self, rows: list[torch.Tensor], size: int, settings: list[float]) -> None:
        if size not in self._buffers:
            self._buffers[size] = Buffers(self._state, size, seated=self._seated)
        buffers, weights = self._buffers[size], self._task.class_weights
        with torch.jit.optimized_execution(False):  # type: ignore[attr-defined]
            interpreted()(rows, buffers.layers, buffers.heads, weights, self._vectors, settings)


@cache
def interpreted() -> _RunSteps:
    """Give the step to the interpreter; that takes milliseconds, once a process."""
    parts = (step.update_sgd, step.update_adamw, step.find_gradients, step.run_steps)
    unit = torch.jit.CompilationUnit("\n".join(inspect.getsource(part) for part in parts))
    run_steps: _RunSteps = unit.run_steps
    return run_steps
