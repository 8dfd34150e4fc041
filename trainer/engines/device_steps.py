"""Steps whose every input is a tensor at a fixed place: what a CUDA graph can hold.

``trainer.engines.step`` gives the gradients; the update is here, because a graph takes numbers
of Python for constants: the learning rate and the number of the step are tensors. The results are
those of ``step`` within rounding. Runs on any device, so that it can be tested without a GPU.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from trainer.engines import step
from trainer.engines.buffers import Buffers, vectors_of

if TYPE_CHECKING:
    from trainer.engines.state import State
    from trainer.engines.task import Task


class DeviceSteps:
    """Places for the rows of some steps, and the steps.

    Attributes:
        features: ``(rows, n_features)`` float32, to be filled.
        labels: ``(rows,)`` int64, to be filled.
        losses: of each step, ``(steps,)`` float32, written.
        minus_rate: the learning rate, negative, ``()`` float32; to be filled.
        count: steps made before the next, ``()`` float64; to be filled, and counted on.
        vectors: what steps change.
    """

    def __init__(self, task: Task, state: State, steps: int) -> None:
        """Make the places.

        Args:
            task: batch size, weights of classes, weight decay.
            state: is changed in place.
            steps: whole batches at once; a short one may follow.
        """
        self._task, self._state = task, state
        device, n_features = state.values.device, state.network.linear_layers()[0].in_features
        rows = (steps + 1) * task.batch_size
        self.features = torch.zeros(rows, n_features, device=device)
        self.labels = torch.zeros(rows, dtype=torch.int64, device=device)
        self.losses = torch.zeros(steps + 1, device=device)
        self.minus_rate = torch.zeros((), device=device)
        self.count = torch.zeros((), dtype=torch.float64, device=device)
        self.vectors = vectors_of(state)
        self._buffers: dict[int, Buffers] = {}

    def make(self, steps: int, short: int) -> None:
        """Make steps on the first rows.

        Args:
            steps: whole batches.
            short: rows of a last, short batch; 0 is none.
        """
        size, weights = self._task.batch_size, self._task.class_weights
        for index, rows in enumerate([size] * steps + [short] * (short > 0)):
            if rows not in self._buffers:
                self._buffers[rows] = Buffers(self._state, rows)
            buffers, here = self._buffers[rows], slice(index * size, index * size + rows)
            batch = [self.features[here], self.labels[here], self.losses[index]]
            step.find_gradients(batch, buffers.layers, buffers.heads, weights)
            self.count.add_(1)
            if self._state.moments:
                self._update_adamw()
            else:
                self._update_sgd()

    def _update_sgd(self) -> None:
        parameters, gradients = self.vectors
        if self._task.weight_decay:
            gradients.add_(parameters, alpha=self._task.weight_decay)
        parameters.addcmul_(gradients, self.minus_rate)

    def _update_adamw(self) -> None:
        parameters, gradients, first, second, scratch = self.vectors
        if self._task.weight_decay:
            parameters.mul_(self.minus_rate * self._task.weight_decay + 1)
        first.lerp_(gradients, 1 - 0.9)
        second.mul_(0.999).addcmul_(gradients, gradients, value=1 - 0.999)
        torch.sqrt(second, out=scratch)
        scratch.div_((1 - 0.999**self.count).sqrt()).add_(1e-8)
        torch.div(first, scratch, out=scratch)
        parameters.addcmul_(scratch, (self.minus_rate / (1 - 0.9**self.count)).float())
