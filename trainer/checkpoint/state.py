"""The state of a training run between two steps, and the callbacks that observe it.

No random state is part of it: the shuffling is a function of seed and epoch.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol

from trainer.evaluation.metrics import Scores  # noqa: TC001 - msgspec resolves the field

if TYPE_CHECKING:
    import torch

    from trainer.engines.state import ModelState
    from trainer.model import SimpleNet

# A test loss has risen for long: since so many epochs, so many of them in a row by so much. One
# epoch alone may be above by chance.
_MIN_EPOCHS_ABOVE, _SHARE_ABOVE, _EPOCHS_CLEARLY_ABOVE = 20, 0.25, 10
_CLEARLY, _CLEARLY_NATS = 0.1, 0.01


@dataclass(frozen=True)
class Epoch:
    """The metrics of one pass over the training rows.

    Attributes:
        index: from 0.
        epochs: maximum number of epochs.
        losses: mean cross-entropy of each batch, before its step.
        loss: mean over the epoch's training rows.
        test_loss: mean cross-entropy of the test rows after the epoch.
        accuracy: of the test rows after the epoch, 0 to 1.
        learning_rate: of its last step.
        train: scores of some training rows after the epoch; None but in a few epochs.
        validation: scores of the validation rows after the epoch, or of training rows out of
            fold; None without such rows, and before the first evaluation.
        is_validated: whether ``validation`` is of this epoch, not carried from an earlier one.
        is_out_of_fold: whether it is, or will be, of training rows.
        best: index of the best epoch so far, by validation loss; without it, this one.
        patience: epochs without improvement before early stopping; None is no early stopping.
        rows: training rows.
        lowest: index of the epoch with the lowest test loss so far.
        lowest_test_loss: its test loss.
        above: consecutive epochs, up to this one, whose test loss is clearly above the lowest.
    """

    index: int
    epochs: int
    losses: tuple[float, ...]
    loss: float
    test_loss: float
    accuracy: float
    learning_rate: float
    train: Scores | None = None
    validation: Scores | None = None
    best: int = 0
    patience: int | None = None
    rows: int = 0
    lowest: int = 0
    lowest_test_loss: float = math.inf
    above: int = 0
    is_validated: bool = True
    is_out_of_fold: bool = False

    @property
    def is_last(self) -> bool:
        """Whether training ends after it, by its length or by early stopping."""
        is_stopping_early = self.patience is not None and self.wait_count >= self.patience
        return is_stopping_early or self.index + 1 == self.epochs

    @property
    def wait_count(self) -> int:
        """Epochs since the best one."""
        return self.index - self.best

    @property
    def is_overfitting(self) -> bool:
        """Whether the test loss has risen for long, and clearly, since it was lowest.

        Never with validation, which selects the epoch that the model is from.
        """
        is_long = self.index - self.lowest > max(_MIN_EPOCHS_ABOVE, self.epochs * _SHARE_ABOVE)
        is_selected = self.is_out_of_fold or self.validation is not None
        return is_long and self.above >= _EPOCHS_CLEARLY_ABOVE and not is_selected

    def after(self, last: Epoch | None) -> Epoch:
        """Compare the test loss with that of the epochs before; ``last`` is the one before."""
        if last is None or self.test_loss < last.lowest_test_loss:
            return replace(self, lowest=self.index, lowest_test_loss=self.test_loss)
        loss = last.lowest_test_loss
        is_above = self.test_loss > max(loss * (1 + _CLEARLY), loss + _CLEARLY_NATS)
        above = last.above + 1 if is_above else 0
        return replace(self, lowest=last.lowest, lowest_test_loss=loss, above=above)


@dataclass(frozen=True)
class BestEpoch:
    """The best epoch so far.

    Attributes:
        epoch: its metrics.
        weights: of the network after it, by the names of its state dict.
    """

    epoch: Epoch
    weights: dict[str, torch.Tensor]


@dataclass(frozen=True)
class TrainingState:
    """Everything that training needs to continue, bit for bit.

    Attributes:
        epoch: of the next step, from 0.
        step: of the next step in its epoch, from 0.
        tensors: weights and the optimiser's moments, see ``ModelState.tensors``.
        losses: of this epoch's steps so far, ``(step,)`` float32.
        last: the epoch before, without its ``losses``; None in the first epoch.
        best: None in the first epoch, and without validation rows.
    """

    epoch: int
    step: int
    tensors: dict[str, torch.Tensor]
    losses: torch.Tensor
    last: Epoch | None
    best: BestEpoch | None


@dataclass(frozen=True)
class FitResult:
    """The result of training.

    Attributes:
        model: takes raw features; on the CPU, in evaluation mode.
        last: the epoch that the model is from: the last, or the best by validation loss.
        epochs: completed epochs.
        streaming: why rows were streamed to the device, as text; empty if they were not.
    """

    model: SimpleNet
    last: Epoch
    epochs: int
    streaming: str = ""


EpochCallback = Callable[[Epoch], bool | None]  # True ends training after this epoch


class TrainingCallback(Protocol):
    """Restores and observes a training run."""

    def restore(self) -> TrainingState | None:
        """Provide the state to continue from.

        Returns:
            The state; None starts from the beginning.
        """

    def on_epoch_end(self, epoch: Epoch, state: ModelState) -> None:
        """Receive an epoch, before any ``EpochCallback`` does.

        Args:
            epoch: its metrics.
            state: the network after it, with the gradients of its last batch.
        """

    def on_step(self, capture: Callable[[], TrainingState]) -> None:
        """Receive control between two steps, every few milliseconds.

        Args:
            capture: copies the current state.

        Raises:
            BaseException: to stop training.
        """


class NoCallback:
    """A training callback that does nothing."""

    def restore(self) -> TrainingState | None:
        """Start from the beginning."""
        return None

    def on_epoch_end(self, epoch: Epoch, state: ModelState) -> None:
        """Ignore the epoch."""

    def on_step(self, capture: Callable[[], TrainingState]) -> None:
        """Continue."""


def ignore_epoch(_epoch: Epoch) -> None:
    """Ignore an epoch: the default ``EpochCallback``."""
