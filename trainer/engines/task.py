"""What an engine must know of a fit, and what an engine is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Task:
    """What stays the same in all steps of a fit.

    Attributes:
        batch_size: rows a step.
        rows_at_once: rows between two looks at the clock and the keyboard, whole batches.
        weight_decay: of SGD or AdamW.
        class_weights: ``(classes,)`` float32, how much a row of each class counts; None when all
            count the same.
    """

    batch_size: int
    rows_at_once: int
    weight_decay: float
    class_weights: torch.Tensor | None


class Engine(Protocol):
    """Makes steps and changes its state in place."""

    def run(
        self, order: torch.Tensor, losses: torch.Tensor, *, learning_rate: float, done: int
    ) -> None:
        """Make a step for each batch of rows.

        Args:
            order: positions of rows, ``(rows,)`` int32 or int64 on the CPU; only the last batch
                may be short.
            losses: the mean loss of each batch before its step is written here, ``(steps,)``
                float32 on the engine's device.
            learning_rate: of these steps.
            done: steps made before these.
        """
