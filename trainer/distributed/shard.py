"""The engine of several processes: steps on a shard of each batch, gradients all-reduced.

A batch's loss is a weighted mean, ``sum(w l) / sum(w)``, over its rows. A process has the mean over
its shard, and the share of the batch's weight that its shard has; the sum over processes of share
times mean is the batch's mean, and likewise for gradients. The share is the gradient that backward
starts from, so nothing is scaled afterwards. All processes know all labels, hence all shares. Of an
ensemble each row has a share in each member's mean, and the shard those of its rows.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from trainer.distributed.group import check_same_weights
from trainer.engines import member_step
from trainer.engines import step as steps
from trainer.engines.prefetch import Gather
from trainer.engines.state import MemberStepBuffers, StepBuffers, untracked, update_vectors

if TYPE_CHECKING:
    from collections.abc import Sequence

    from trainer.distributed.group import ProcessGroup
    from trainer.engines.state import ModelState, TrainingTask
    from trainer.ensemble import Membership
    from trainer.model import Standardisation


class ShardedEngine:
    """Makes the steps of one of several processes, on the CPU or on CUDA."""

    def __init__(
        self,
        group: ProcessGroup,
        task: TrainingTask,
        state: ModelState,
        rows: tuple[torch.Tensor, torch.Tensor],
        scale: Standardisation | None,
    ) -> None:
        """Prepare the buffers; ``state`` is changed in place by ``run``."""
        self._group, self._task, self._state = group, task, state
        self._labels = rows[1]
        self._gather = Gather(*rows, scale, -(-task.batch_size // group.process.size))
        self._vectors = update_vectors(state)
        self._buffers: dict[int, StepBuffers] = {}
        self._member_buffers: dict[int, MemberStepBuffers] = {}
        weights = task.class_weights
        self._weights = None if weights is None else weights.cpu().double()

    def run(
        self,
        order: torch.Tensor,
        losses: torch.Tensor,
        *,
        learning_rates: Sequence[float],
        done: int,
    ) -> None:
        """Make a step for each batch of rows; ``order`` is the same in all processes."""
        self._run(order.long(), untracked(losses), learning_rates, done)
        check_same_weights(self._group, self._state)

    @torch.inference_mode()
    def _run(
        self, order: torch.Tensor, losses: torch.Tensor, learning_rates: Sequence[float], done: int
    ) -> None:
        decay = self._task.weight_decay
        losses.zero_()
        for index, batch in enumerate(torch.split(order, self._task.batch_size)):
            self._compute_gradients(batch, losses[index])
            self._group.all_reduce(self._vectors[1])
            if self._state.moments:
                steps.update_adamw(self._vectors, learning_rates[index], decay, done + index + 1)
            else:
                steps.update_sgd(self._vectors, learning_rates[index], decay)
        self._group.all_reduce(losses)

    def _compute_gradients(self, batch: torch.Tensor, loss: torch.Tensor) -> None:
        """Write the shard's contribution to the batch's gradients and loss."""
        shard = batch[self._group.process.shard(len(batch))]
        if len(shard) == 0:
            self._vectors[1].zero_()
            return
        if self._task.membership:
            self._compute_member_gradients(batch, self._task.membership, loss)
            return
        if len(shard) not in self._buffers:
            self._buffers[len(shard)] = StepBuffers(self._state, len(shard))
        buffers, share = self._buffers[len(shard)], self._share(shard, batch)
        features, labels = (part.to(loss.device) for part in self._gather(shard))
        buffers.loss_buffers[3].fill_(share)
        steps.compute_gradients(
            [features, labels, loss], buffers.layers, buffers.loss_buffers, self._task.class_weights
        )
        loss.mul_(share)

    def _compute_member_gradients(
        self, batch: torch.Tensor, membership: Membership, loss: torch.Tensor
    ) -> None:
        here = self._group.process.shard(len(batch))
        strata = self._labels[batch][None].to(loss.device)
        targets = membership.targets(strata)[0, :, here]
        shares = membership.shares(strata)[0, :, here].contiguous()
        size = targets.shape[1]
        if size not in self._member_buffers:
            self._member_buffers[size] = MemberStepBuffers(self._state, size)
        buffers, (features, _) = self._member_buffers[size], self._gather(batch[here])
        member_step.compute_member_gradients(
            [features.to(loss.device), targets, shares, loss],
            *(buffers.first, buffers.layers, buffers.loss_buffers),
        )
        loss.div_(membership.members)

    def _share(self, shard: torch.Tensor, batch: torch.Tensor) -> float:
        """Return the shard's fraction of its batch's weight, 0 to 1."""
        if self._weights is None:
            return len(shard) / len(batch)
        part, whole = (self._weights[self._labels[rows]].sum() for rows in (shard, batch))
        return float(part / whole)
