"""The CPU engine: ``trainer.engines.step`` in the TorchScript interpreter.

The calls of a small network's step take less time than Python needs to make them. The interpreter
gets the functions as source text, which neither loads torch's compiler nor generates code.
"""

from __future__ import annotations

import inspect
from functools import cache
from typing import TYPE_CHECKING, Protocol

import torch

from trainer.engines import step
from trainer.engines.state import ALIGNMENT, StepBuffers, untracked, update_vectors

if TYPE_CHECKING:
    from trainer.engines.prefetch import Gather
    from trainer.engines.state import ModelState, TrainingTask


class _RunSteps(Protocol):
    """The signature of ``step.run_steps``."""

    def __call__(
        self,
        rows: list[torch.Tensor],
        layers: list[list[torch.Tensor]],
        loss_buffers: list[torch.Tensor],
        class_weights: torch.Tensor | None,
        state: list[torch.Tensor],
        settings: list[float],
    ) -> None: ...


class TorchScriptEngine:
    """Runs steps on the CPU, bit for bit those of autograd."""

    def __init__(self, task: TrainingTask, state: ModelState, gather: Gather) -> None:
        """Prepare; buffers are allocated by the first steps."""
        self._task, self._state, self._gather = task, state, gather
        self._vectors = update_vectors(state)
        self._buffers: dict[int, StepBuffers] = {}
        # A product may sum in another order when its operand is not aligned.
        self._align = task.batch_size * gather.n_features % ALIGNMENT != 0

    @torch.inference_mode()
    def run(
        self, order: torch.Tensor, losses: torch.Tensor, *, learning_rate: float, done: int
    ) -> None:
        """Run a step for each batch of rows; see ``Engine``."""
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
            self._buffers[size] = StepBuffers(self._state, size, align=self._align)
        buffers, weights = self._buffers[size], self._task.class_weights
        with torch.jit.optimized_execution(False):  # type: ignore[attr-defined]
            run_steps = load_steps()
            run_steps(rows, buffers.layers, buffers.loss_buffers, weights, self._vectors, settings)


@cache
def load_steps() -> _RunSteps:
    """Load the step into the interpreter; takes milliseconds, once per process."""
    parts = (step.update_sgd, step.update_adamw, step.compute_gradients, step.run_steps)
    unit = torch.jit.CompilationUnit("\n".join(inspect.getsource(part) for part in parts))
    run_steps: _RunSteps = unit.run_steps
    return run_steps
