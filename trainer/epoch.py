"""What happened in one pass over the training rows; values alone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from trainer.judging import Judgement  # noqa: TC001 - a field of a value


@dataclass(frozen=True)
class Epoch:
    """One pass over the training rows.

    Attributes:
        index: from 0.
        epochs: how many there will be, at most.
        losses: mean cross-entropy of each batch, measured before its step.
        loss: mean over the epoch's training rows.
        test_loss: mean cross-entropy of the test rows after the epoch.
        accuracy: share of test rows labelled correctly after the epoch, 0 to 1.
        learning_rate: of all its steps.
        validation: of the rows held out, after the epoch; None where there are none.
        best: index of the best epoch so far, by validation loss; without it, this one.
        patience: epochs without a better one after which the fit ends; None: it does not.
        rows: how many were learned from.
    """

    index: int
    epochs: int
    losses: tuple[float, ...]
    loss: float
    test_loss: float
    accuracy: float
    learning_rate: float
    validation: Judgement | None = None
    best: int = 0
    patience: int | None = None
    rows: int = 0

    @property
    def is_last(self) -> bool:
        """Whether the fit ends with it, by its length or by its patience."""
        is_impatient = self.patience is not None and self.waited >= self.patience
        return is_impatient or self.index + 1 == self.epochs

    @property
    def waited(self) -> int:
        """How many epochs have not been better than the best."""
        return self.index - self.best


Watch = Callable[[Epoch], None]


def look_away(_epoch: Epoch) -> None:
    """Watch nothing."""
