"""The trials of a search, one after the other.

A trial holds the first fold out and is stopped early where its loss there is worse than the median
of the trials before. Of a table that is not large the best trials are then confirmed on the other
folds: where few rows are held out, the best of many trials is best by chance.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING, Final

import msgspec

from runtime.errors import DataError, UsageError
from runtime.surfaces import option
from runtime.value import Value
from trainer.checkpoint.trials import FORMAT, FoldScore, Search, Trial, remove_trials, write_search
from trainer.config import configure
from trainer.data.preprocessing import preprocess_dataset
from trainer.device import Workload, select_device
from trainer.fit import fit
from trainer.recipe import configure_for_table
from trainer.tuning.holdout import assign_folds, hold_out, plan_folds
from trainer.tuning.ranking import (
    completed,
    count_finalists,
    finalists,
    lowest_loss,
    next_options,
)
from trainer.tuning.space import SPACE

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from trainer.checkpoint.format import FitIdentity
    from trainer.checkpoint.state import Epoch, EpochCallback, FitResult
    from trainer.checkpoint.trials import OptionValue, TrialEnd
    from trainer.config import Configuration, DeviceChoice, Options, Preset
    from trainer.data.dataset import Dataset
    from trainer.tuning.budget import Budget

_RUNGS: Final = (1 / 8, 1 / 4, 1 / 2)  # shares of a trial's epochs, where it is compared
_MIN_RIVALS: Final = 3  # a median of fewer says little
_TRIALS_SHARE: Final = 2 / 3  # of the seconds; the rest confirms the best


@dataclass(frozen=True)
class TuningRequest:
    """What is searched.

    Attributes:
        budget: for how long.
        preset: as given.
        overrides: the options that were given; the search does not change them.
        device: as given.
    """

    budget: Budget
    preset: Preset | None
    overrides: Options
    device: DeviceChoice

    def __post_init__(self) -> None:
        if self.preset == "tutorial":
            raise UsageError(
                f"{option('preset', 'tutorial')} trains as the tutorial does, and "
                f"{option('tune')} changes that: use one of them"
            )
        if not self.free:
            options = ", ".join(map(option, SPACE))
            raise UsageError(
                f"{option('tune')} has nothing to search: leave one of {options} to it"
            )

    @property
    def free(self) -> tuple[str, ...]:
        """Names of the options that are searched."""
        return tuple(name for name in SPACE if self.overrides.get(name) is None)

    def configure(
        self, options: dict[str, OptionValue], shape: tuple[int, int] | None
    ) -> Configuration:
        """Configure a fit as if ``options`` had been given, too; ``shape`` is that of a table."""
        given: Options = {**self.overrides, **options}  # type: ignore[typeddict-item]  # of SPACE
        if shape is None:
            return configure(self.preset or "default", **given)
        return configure_for_table(self.preset, given, shape)


class TuningStatus(Value, frozen=True):
    """Where a search is.

    Attributes:
        trial: position of the trial under way.
        fold: that it holds out; after the first it is being confirmed.
        epoch: completed epochs of it.
        epochs: all of them.
        best: lowest loss on the first fold so far.
        seconds: that the search has taken.
        fits: that are behind it, and a part of the one under way.
        planned: fits of the whole search, at most; 0 where a time ends it.
        score: of the trial, once it has ended.
    """

    trial: int
    fold: int
    epoch: int
    epochs: int
    best: float | None
    seconds: float
    fits: float
    planned: int
    score: FoldScore | None = None


class Tuner:
    """Runs a search, and writes each trial to a folder."""

    def __init__(
        self,
        request: TuningRequest,
        dataset: Dataset,
        *,
        is_table: bool,
        folder: Path,
        on_progress: Callable[[TuningStatus], None],
    ) -> None:
        """Prepare; ``is_table`` is false for the synthetic products, which no option adapts to."""
        self._request, self._dataset = request, dataset
        self._shape = dataset.shape if is_table else None
        self._base = request.configure({}, self._shape)
        self._fold_of_row = assign_folds(dataset.rows.train_labels, self._base.seed)
        self._folds = plan_folds(len(self._fold_of_row))
        self._folder, self._on_progress = folder, on_progress
        self._datasets: dict[int, Dataset] = {}  # that of the fold held out last

    def run(self, fit_identity: FitIdentity, saved: Search | None) -> Search:
        """Search from the beginning, or from where a search was interrupted."""
        self._search = saved or Search(FORMAT, fit_identity, "")
        self._search = msgspec.structs.replace(
            self._search, budget=str(self._request.budget), folds=0, best=None
        )
        self._since = time.monotonic() - self._search.seconds
        self._run_trials(1.0 if self._folds == 1 else _TRIALS_SHARE)
        self._refuse_if_all_failed()
        folds = self._confirm()
        while not (losses := self._losses(folds)):
            folds -= 1  # each has failed on one of them
        self._write(folds=folds, best=min(losses)[1])
        return self._search

    @property
    def _trials(self) -> tuple[Trial, ...]:
        return self._search.trials

    def _run_trials(self, share: float) -> None:
        """Try options on the first fold until the budget is used, or no option is left."""
        budget = self._request.budget
        limit = math.inf if budget.seconds is None else budget.seconds * share
        while len(self._trials) < (budget.trials or math.inf):
            options = next_options(self._base, self._request.free, self._trials)
            # Within a trial the time is read after an epoch, which one that fails may not reach.
            is_late = bool(self._trials) and time.monotonic() - self._since > limit
            if options is None or is_late:
                break
            # The defaults are completed in any case: there must be a result.
            score = self._evaluate(options, 0, limit if self._trials else math.inf)
            if score is None:
                break
            self._write(trials=(*self._trials, Trial(options, (score,))))

    def _refuse_if_all_failed(self) -> None:
        """Raise where no trial was completed: there is nothing to continue from."""
        if not completed(self._trials):
            remove_trials(self._folder)
            reasons = [score.reason for trial in self._trials for score in trial.scores]
            if len(reasons) == 1:
                raise DataError(f"the only trial failed: {reasons[0]}")
            raise DataError(f"none of {len(reasons)} trials was completed; the first: {reasons[0]}")

    def _confirm(self) -> int:
        """Evaluate the best trials on the other folds; return the folds that all completed."""
        limit = math.inf if self._request.budget.seconds is None else self._request.budget.seconds
        self._forget_former_finalists()
        for fold in range(1, self._folds):
            for at in finalists(self._trials):
                trial = self._trials[at]
                if len(trial.scores) > fold:
                    continue
                score = self._evaluate(trial.options, fold, limit, at)
                if score is None:
                    return fold
                changed = Trial(trial.options, (*trial.scores, score))
                self._write(trials=(*self._trials[:at], changed, *self._trials[at + 1 :]))
        return self._folds

    def _forget_former_finalists(self) -> None:
        """Leave the trials as in a search that had this budget from the beginning."""
        confirmed = finalists(self._trials)
        kept = (
            trial if at in confirmed else Trial(trial.options, trial.scores[:1])
            for at, trial in enumerate(self._trials)
        )
        self._write(trials=tuple(kept))

    def _count_planned(self) -> int:
        trials = self._request.budget.trials
        if trials is None:
            return 0
        return trials + (self._folds - 1) * count_finalists(trials)

    def _losses(self, folds: int) -> list[tuple[float, int]]:
        """List the mean losses of the finalists that completed so many folds, and their trials."""
        losses = [(self._trials[at].mean_loss(folds), at) for at in finalists(self._trials)]
        return [(loss, at) for loss, at in losses if loss is not None]

    def _evaluate(
        self, options: dict[str, OptionValue], fold: int, limit: float, at: int | None = None
    ) -> FoldScore | None:
        """Fit with options on all folds but one; ``at`` is the trial that is confirmed.

        Returns None when the seconds are over.
        """
        configuration = self._request.configure(options, self._shape)
        position = len(self._trials) if at is None else at
        # Counted once: epochs are many, and may be short.
        best, planned = lowest_loss(self._trials), self._count_planned()
        fits = sum(len(trial.scores) for trial in self._trials)
        last: Epoch | None = None
        is_late, is_worse = False, False
        rungs: list[float] = []

        def report(epochs: int, score: FoldScore | None = None) -> float:
            seconds, share = time.monotonic() - self._since, epochs / configuration.epochs
            status = TuningStatus(
                trial=position,
                fold=fold,
                epoch=epochs,
                epochs=configuration.epochs,
                best=best,
                seconds=seconds,
                fits=fits + (1.0 if score else share),
                planned=planned,
                score=score,
            )
            self._on_progress(status)
            return seconds

        def on_epoch_end(epoch: Epoch) -> bool:
            nonlocal last, is_late, is_worse
            last, done = epoch, epoch.index + 1
            is_late = report(done) > limit
            if not epoch.is_validated:  # the temperature is that of an earlier epoch
                return is_late
            while len(rungs) < len(_RUNGS) and done >= _RUNGS[len(rungs)] * epoch.epochs:
                rungs.append(epoch.test_loss)
                is_worse |= fold == 0 and not epoch.is_last and self._is_worse(rungs)
            return is_late or is_worse

        try:
            result = self._fit(configuration, fold, on_epoch_end)
        except (DataError, UsageError) as exc:  # it diverged, or is too large
            done = 0 if last is None else last.index + 1
            score = FoldScore(fold, "failed", done, reason=str(exc))
        else:
            if is_late:
                return None
            end: TrialEnd = "stopped" if is_worse else "complete"
            loss, accuracy = result.last.test_loss, result.last.accuracy
            score = FoldScore(fold, end, result.epochs, loss, accuracy, tuple(rungs))
        report(score.epochs, score)
        return score

    def _fit(
        self, configuration: Configuration, fold: int, on_epoch_end: EpochCallback
    ) -> FitResult:
        if fold not in self._datasets:
            self._datasets = {fold: hold_out(self._dataset, self._fold_of_row, fold)}
        dataset = self._datasets[fold]
        rows = len(dataset.rows.train_labels)
        workload = Workload(configuration.batch_size, rows, configuration.epochs)
        device = select_device(self._request.device, workload).name
        preprocessed = preprocess_dataset(dataset, configuration).dataset
        return fit(preprocessed, configuration, device=device, on_epoch_end=on_epoch_end)

    def _is_worse(self, rungs: Sequence[float]) -> bool:
        """Check whether a loss is above the median of the trials before, at the same rung."""
        rivals = [trial.scores[0].rungs for trial in self._trials]
        losses = [each[len(rungs) - 1] for each in rivals if len(each) >= len(rungs)]
        return len(losses) >= _MIN_RIVALS and rungs[-1] > median(losses)

    def _write(self, **changes: object) -> None:
        seconds = time.monotonic() - self._since
        self._search = msgspec.structs.replace(self._search, **changes, seconds=seconds)
        write_search(self._folder, self._search)
