"""The reference engine: autograd and torch.optim.

``torch.optim`` loads torch's compiler, which takes more than a second: only tests and benchmarks
use this engine.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch.nn import functional

if TYPE_CHECKING:
    from collections.abc import Sequence

    from trainer.engines.prefetch import Gather
    from trainer.engines.state import ModelState, TrainingTask
    from trainer.ensemble import Membership


class EagerEngine:
    """Runs steps by autograd and ``torch.optim.SGD`` or ``AdamW``, on any device."""

    def __init__(self, task: TrainingTask, state: ModelState, gather: Gather) -> None:
        """Create the optimiser."""
        self._task, self._state, self._gather = task, state, gather
        self._optimiser = self._create_optimiser()

    def run(
        self,
        order: torch.Tensor,
        losses: torch.Tensor,
        *,
        learning_rates: Sequence[float],
        done: int,
    ) -> None:
        """Run a step for each batch of rows; see ``Engine``."""
        for moments in self._optimiser.state.values():
            moments["step"] = torch.tensor(float(done))
        features, labels = (part.to(losses.device) for part in self._gather(order))
        size = self._task.batch_size
        batches = zip(torch.split(features, size), torch.split(labels, size), strict=True)
        for step, (batch, targets) in enumerate(batches):
            self._optimiser.param_groups[0]["lr"] = learning_rates[step]
            self._optimiser.zero_grad()
            logits = self._state.network(batch)  # (batch, classes)
            if self._task.membership:
                loss = _sum_member_losses(logits, targets, self._task.membership)
            else:
                loss = functional.cross_entropy(logits, targets, self._task.class_weights)
            loss.backward()  # type: ignore[no-untyped-call]
            self._optimiser.step()
            losses[step] = loss.detach()
        if self._task.membership:
            losses[: step + 1].div_(self._task.membership.members)

    def _create_optimiser(self) -> torch.optim.Optimizer:
        """Create the optimiser with the moments of the state."""
        network, decay = self._state.network, self._task.weight_decay
        if not self._state.moments:
            return torch.optim.SGD(network.parameters(), weight_decay=decay)
        optimiser = torch.optim.AdamW(network.parameters(), weight_decay=decay)
        first, second = (self._state.views(vector) for vector in self._state.moments.values())
        for name, parameter in network.named_parameters():
            optimiser.state[parameter] = {"exp_avg": first[name], "exp_avg_sq": second[name]}
        return optimiser


def _sum_member_losses(
    logits: torch.Tensor, strata: torch.Tensor, membership: Membership
) -> torch.Tensor:
    """Sum the members' mean losses; ``logits`` are ``(members, classes, batch)``."""
    targets, shares = membership.targets(strata[None])[0], membership.shares(strata[None])[0]
    row_losses = functional.cross_entropy(logits, targets[..., 0], reduction="none")
    return torch.dot(row_losses.flatten(), shares.flatten())
