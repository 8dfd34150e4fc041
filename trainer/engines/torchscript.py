"""The CPU engine: ``trainer.engines.step`` in the TorchScript interpreter.

The calls of a small network's step take less time than Python needs to make them. The interpreter
gets the functions as source text, which neither loads torch's compiler nor generates code.
"""

from __future__ import annotations

import inspect
from functools import cache
from typing import TYPE_CHECKING, Protocol

import torch

from trainer.engines import member_step, step
from trainer.engines.state import (
    ALIGNMENT,
    MemberStepBuffers,
    StepBuffers,
    padded,
    untracked,
    update_vectors,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from trainer.engines.prefetch import Gather
    from trainer.engines.state import ModelState, TrainingTask
    from trainer.ensemble import Membership


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


class _RunMemberSteps(Protocol):
    """The signature of ``member_step.run_member_steps``."""

    def __call__(
        self,
        rows: list[torch.Tensor],
        first: list[torch.Tensor],
        layers: list[list[torch.Tensor]],
        loss_buffers: list[torch.Tensor],
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
        self._member_buffers: dict[int, MemberStepBuffers] = {}
        # A product may sum in another order when its operand is not aligned.
        self._align = task.batch_size * gather.n_features % ALIGNMENT != 0

    @torch.inference_mode()
    def run(
        self,
        order: torch.Tensor,
        losses: torch.Tensor,
        *,
        learning_rates: Sequence[float],
        done: int,
    ) -> None:
        """Run a step for each batch of rows; see ``Engine``."""
        features, labels, losses = map(untracked, (*self._gather(order), losses))
        size = self._task.batch_size
        whole = len(order) // size
        decay, rates = self._task.weight_decay, list(learning_rates)
        if whole:
            settings = [decay, float(done), *rates[:whole]]
            self._run([features, labels, losses[:whole]], size, settings)
        if tail := len(order) - whole * size:
            rows = [features[whole * size :], labels[whole * size :], losses[whole:]]
            self._run(rows, tail, [decay, float(done + whole), *rates[whole:]])

    def _run(self, rows: list[torch.Tensor], size: int, settings: list[float]) -> None:
        if self._task.membership:
            self._run_members(rows, size, self._task.membership, settings)
            return
        if size not in self._buffers:
            self._buffers[size] = StepBuffers(self._state, size, align=self._align)
        buffers, weights = self._buffers[size], self._task.class_weights
        with torch.jit.optimized_execution(False):  # type: ignore[attr-defined]
            run_steps = load_steps()
            run_steps(rows, buffers.layers, buffers.loss_buffers, weights, self._vectors, settings)

    def _run_members(
        self, rows: list[torch.Tensor], size: int, membership: Membership, settings: list[float]
    ) -> None:
        if size not in self._member_buffers:
            self._member_buffers[size] = MemberStepBuffers(self._state, size, align=self._align)
        buffers, (features, labels, losses) = self._member_buffers[size], rows
        strata = labels[: len(losses) * size].view(-1, size)
        shares = _align_steps(membership.shares(strata))
        rows = [features, membership.targets(strata), shares, losses]
        with torch.jit.optimized_execution(False):  # type: ignore[attr-defined]
            run_steps = load_member_steps()
            run_steps(
                *(rows, buffers.first, buffers.layers, buffers.loss_buffers),
                self._vectors,
                settings,
            )
        losses.div_(membership.members)


def _align_steps(shares: torch.Tensor) -> torch.Tensor:
    """Align each step's part of ``(steps, members, batch, 1)``: ``dot`` is a product, too."""
    steps, numbers = len(shares), shares[0].numel()
    if numbers % ALIGNMENT == 0:
        return shares
    aligned = shares.new_empty(steps, padded(numbers))[:, :numbers]
    return aligned.view(shares.shape).copy_(shares)


@cache
def load_steps() -> _RunSteps:
    """Load the step into the interpreter; takes milliseconds, once per process."""
    run_steps: _RunSteps = _compile(step.compute_gradients, step.run_steps).run_steps
    return run_steps


@cache
def load_member_steps() -> _RunMemberSteps:
    """Load the step of an ensemble likewise."""
    parts = member_step.compute_member_gradients, member_step.run_member_steps
    run_steps: _RunMemberSteps = _compile(*parts).run_member_steps
    return run_steps


def _compile(*parts: Callable[..., None]) -> torch.jit.CompilationUnit:
    functions: Sequence[Callable[..., None]] = (step.update_sgd, step.update_adamw, *parts)
    return torch.jit.CompilationUnit("\n".join(inspect.getsource(each) for each in functions))
