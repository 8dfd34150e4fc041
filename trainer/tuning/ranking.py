"""Which trials of a search are the best so far, which are confirmed, and what is tried next."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

from trainer.tuning.space import propose

if TYPE_CHECKING:
    from collections.abc import Sequence

    from trainer.checkpoint.trials import OptionValue, Trial
    from trainer.config import Configuration

_FINALISTS: Final = 2  # beside the options without a search


def completed(trials: Sequence[Trial]) -> list[int]:
    """List the trials that completed the first fold."""
    return [at for at, trial in enumerate(trials) if trial.mean_loss() is not None]


def lowest_loss(trials: Sequence[Trial]) -> float | None:
    """Return the lowest loss on the first fold; None if none completed it."""
    return min((_loss(trials[at]) for at in completed(trials)), default=None)


def finalists(trials: Sequence[Trial]) -> list[int]:
    """List the best trials on the first fold, and the defaults, in the order of trials."""
    best = sorted(completed(trials), key=lambda at: _loss(trials[at]))
    return sorted({*best[:_FINALISTS], *(at for at in best if at == 0)})


def count_finalists(trials: int) -> int:
    """Return how many of so many trials are confirmed, at most."""
    return min(trials, _FINALISTS + 1)


def next_options(
    base: Configuration, free: Sequence[str], trials: Sequence[Trial]
) -> dict[str, OptionValue] | None:
    """Propose the options of the next trial; None where none are left."""
    best = min(completed(trials), key=lambda at: _loss(trials[at]), default=None)
    near = None if best is None else trials[best].options
    return propose(base, free, [trial.options for trial in trials], near)


def _loss(trial: Trial) -> float:
    loss = trial.mean_loss()
    return math.inf if loss is None else loss
