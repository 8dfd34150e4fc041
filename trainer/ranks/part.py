"""Steps on a part of each batch: gradients are added up, so that all processes take the same step.

A batch's loss is a mean, ``sum(w l) / sum(w)``, over its rows. A process has the mean of its own
rows, and the share that they have of the batch's weights; the sum over processes of share times
mean is the mean over the batch, and likewise for gradients. The share goes into backward where
autograd has the number one, so nothing has to be scaled afterwards. All processes know all labels:
no share has to be asked for.

In: the order of rows of whole batches. Out: a changed state, the same bits in all processes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from trainer.engines import step as steps
from trainer.engines.buffers import Buffers, untracked, vectors_of
from trainer.engines.gather import Gather

if TYPE_CHECKING:
    from trainer.engines.state import State
    from trainer.engines.task import Task
    from trainer.ranks.group import Group
    from trainer.standardise import Standardisation


class Part:
    """Makes the steps of one process among several, on the CPU or on CUDA."""

    def __init__(
        self,
        group: Group,
        task: Task,
        state: State,
        rows: tuple[torch.Tensor, torch.Tensor],
        scale: Standardisation | None,
    ) -> None:
        """Prepare for steps; nothing is computed.

        Args:
            group: all processes.
            task: batch size, weights of classes, weight decay.
            state: is changed in place.
            rows: features ``(rows, n_features)`` float32, raw, and labels, on the CPU.
            scale: what standardises a row; None leaves rows raw.
        """
        self._group, self._task, self._state = group, task, state
        self._labels = rows[1]
        self._gather = Gather(*rows, scale, -(-task.batch_size // group.place.size))
        self._vectors = vectors_of(state)
        self._buffers: dict[int, Buffers] = {}
        weights = task.class_weights
        self._weights = None if weights is None else weights.cpu().double()

    @torch.inference_mode()
    def run(
        self, order: torch.Tensor, losses: torch.Tensor, *, learning_rate: float, done: int
    ) -> None:
        """Make a step for each batch of rows, together with the other processes.

        Args:
            order: positions of rows, ``(rows,)``, the same in all processes.
            losses: the mean loss of each whole batch is written here, ``(steps,)``.
            learning_rate: of these steps.
            done: steps made before these.
        """
        losses, decay = untracked(losses), self._task.weight_decay
        losses.zero_()
        for index, batch in enumerate(torch.split(order, self._task.batch_size)):
            self._find_gradients(batch, losses[index])
            self._group.add_up(self._vectors[1])
            if self._state.moments:
                steps.update_adamw(self._vectors, learning_rate, decay, done + index + 1)
            else:
                steps.update_sgd(self._vectors, learning_rate, decay)
        self._group.add_up(losses)

    def _find_gradients(self, batch: torch.Tensor, loss: torch.Tensor) -> None:
        """Write what this process's rows add to the batch's gradients and loss."""
        mine = batch[self._group.place.part_of(len(batch))]
        if len(mine) == 0:
            self._vectors[1].zero_()
            return
        if len(mine) not in self._buffers:
            self._buffers[len(mine)] = Buffers(self._state, len(mine))
        buffers, share = self._buffers[len(mine)], self._share(mine, batch)
        features, labels = (part.to(loss.device) for part in self._gather(mine))
        buffers.heads[3].fill_(share)
        steps.find_gradients(
            [features, labels, loss], buffers.layers, buffers.heads, self._task.class_weights
        )
        loss.mul_(share)

    def _share(self, mine: torch.Tensor, batch: torch.Tensor) -> float:
        """How much these rows count of their batch, 0 to 1."""
        if self._weights is None:
            return len(mine) / len(batch)
        part, whole = (self._weights[self._labels[rows]].sum() for rows in (mine, batch))
        return float(part / whole)
