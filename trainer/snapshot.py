"""A fit between two steps: all that is needed to go on as if nothing had happened.

The order of rows is a function of seed and epoch, so no random state is part of it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable

    import torch

    from trainer.engines.state import State
    from trainer.epoch import Epoch


@dataclass(frozen=True)
class Best:
    """The best epoch so far.

    Attributes:
        epoch: what happened in it.
        weights: of the network after it, by the names of its state dict.
    """

    epoch: Epoch
    weights: dict[str, torch.Tensor]


@dataclass(frozen=True)
class Snapshot:
    """A fit between two steps.

    Attributes:
        epoch: of the next step, from 0.
        step: of the next step in its epoch, from 0.
        tensors: weights and the optimiser's moments, see ``engines.state.State.tensors``.
        losses: of this epoch's steps so far, ``(step,)`` float32.
        last: the epoch before, its ``losses`` left out; None before the first has ended.
        best: None likewise, and without rows held out.
    """

    epoch: int
    step: int
    tensors: dict[str, torch.Tensor]
    losses: torch.Tensor
    last: Epoch | None
    best: Best | None


class Keeper(Protocol):
    """Decides where a fit starts, and what is kept of it."""

    def start(self) -> Snapshot | None:
        """Give what to go on from; None is the beginning."""

    def see(self, epoch: Epoch, state: State) -> None:
        """See what an epoch made, before those who watch; the gradients are its last batch's."""

    def look(self, take: Callable[[], Snapshot]) -> None:
        """Look up between two steps; may ``take`` a snapshot, and may raise to end the fit."""


class NoKeeper:
    """Starts at the beginning and keeps nothing."""

    def start(self) -> Snapshot | None:
        """Give nothing."""
        return None

    def see(self, epoch: Epoch, state: State) -> None:
        """See nothing."""

    def look(self, take: Callable[[], Snapshot]) -> None:
        """Take nothing."""
