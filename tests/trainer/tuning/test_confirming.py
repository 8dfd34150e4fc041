"""How the best trials are confirmed, and what is said of it: with fits that take a second each."""

from __future__ import annotations

import sys
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest

from runtime.errors import DataError
from trainer.checkpoint.state import Epoch
from trainer.config import configure
from trainer.data.products import synthetic_products
from trainer.device import Device
from trainer.run_plan import identify
from trainer.tuning.budget import parse_budget
from trainer.tuning.report import describe_result, format_search
from trainer.tuning.search import Tuner, TuningRequest, TuningStatus
from trainer.tuning.space import SPACE

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from trainer.checkpoint.state import EpochCallback
    from trainer.checkpoint.trials import Search
    from trainer.config import Configuration, Options

    Loss = Callable[[int, int], float]  # of a trial on a fold

ROWS, MANY_ROWS = 100, 5_001


class FakeFits:
    """Fits without training: one epoch each, of a second.

    Attributes:
        statuses: what the search has reported.
    """

    def __init__(self, folder: Path, loss: Loss, monkeypatch: pytest.MonkeyPatch) -> None:
        self._folder, self._loss = folder, loss
        self._seconds = 0.0
        self._tried: list[Configuration] = []
        self.statuses: list[TuningStatus] = []
        monkeypatch.setattr(Tuner, "_fit", lambda _tuner, *given: self._fit(*given))
        clock = SimpleNamespace(monotonic=lambda: self._seconds)
        monkeypatch.setattr("trainer.tuning.search.time", clock)

    def search(self, budget: str, *, rows: int = ROWS, **given: object) -> Search:
        """Search, with some options given."""
        overrides: Options = {"seed": 1, **given}  # type: ignore[typeddict-item]
        request = TuningRequest(parse_budget(budget), None, overrides, "cpu")
        dataset = synthetic_products(1, train_rows=rows)
        base = request.configure({}, None)
        identity = identify(dataset, base, Device("cpu", "as given"))
        tuner = Tuner(
            request,
            dataset,
            is_table=False,
            folder=self._folder,
            on_progress=self.statuses.append,
        )
        return tuner.run(identity, None)

    def _fit(
        self, configuration: Configuration, fold: int, on_epoch_end: EpochCallback
    ) -> SimpleNamespace:
        if configuration not in self._tried:
            self._tried.append(configuration)
        self._seconds += 1
        loss, epochs = self._loss(self._tried.index(configuration), fold), configuration.epochs
        epoch = Epoch(epochs - 1, epochs, (), loss, loss, 0.8, learning_rate=0.1)
        on_epoch_end(epoch)
        return SimpleNamespace(last=epoch, epochs=epochs)


def best_on_others(trial: int, fold: int) -> float:
    """Trials 4 and 5 are the finalists: 5 is the best on the first fold, 4 on the others."""
    if fold == 0:
        return {4: 0.3, 5: 0.2}.get(trial, 0.5)
    return {0: 0.6, 4: 0.1, 5: 0.4}[trial]


def best_on_all(trial: int, _fold: int) -> float:
    """The last of the finalists is the best on each fold."""
    return {4: 0.3, 5: 0.2}.get(trial, 0.5)


def test_the_best_are_compared_on_all_folds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two and the defaults; every fit counts, and nothing is left over."""
    fits = FakeFits(tmp_path, best_on_others, monkeypatch)
    search = fits.search("6")
    assert (search.folds, search.best) == (5, 4)
    assert [len(trial.scores) for trial in search.trials] == [5, 1, 1, 1, 5, 5]
    counts = [status.fits for status in fits.statuses if status.score]
    assert counts == [*range(1, 19)]
    assert {status.planned for status in fits.statuses} == {18}
    result = describe_result(search, ROWS)
    assert result.startswith("the best of 6 trials has ")
    assert result.endswith(": log loss 0.1400 on 5 folds, 0.5800 without tuning")


def test_a_time_that_ends_while_the_best_are_confirmed_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are compared on the folds that all of them completed: the best is not lost."""
    search = FakeFits(tmp_path, best_on_all, monkeypatch).search("27.5s")
    assert len(search.trials) == 18
    assert [len(search.trials[at].scores) for at in (0, 4, 5)] == [4, 4, 3], "28 s would be late"
    assert (search.folds, search.best) == (3, 5)
    assert describe_result(search, ROWS).endswith(
        ": log loss 0.2000 on 3 of 5 folds, 0.5000 without tuning; "
        "the time ended before the best were confirmed on the other folds"
    )


UNCONFIRMED = "; the time ended before the best were confirmed on the other folds"


@pytest.mark.parametrize(
    ("seconds", "folds", "where", "said"),
    [
        ("10.5s", 1, "1 of 5 folds", UNCONFIRMED),  # 2 of the 3 finalists on the second fold
        ("33.5s", 4, "4 of 5 folds", UNCONFIRMED),  # 1 of them on the last
        ("100s", 5, "5 folds", ""),
    ],
)
def test_a_time_that_ends_early_or_suffices(
    seconds: str,
    folds: int,
    where: str,
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The folds that all finalists completed, of how many."""
    search = FakeFits(tmp_path, best_on_all, monkeypatch).search(seconds)
    assert search.folds == folds
    expected = f": log loss 0.2000 on {where}, 0.5000 without tuning{said}"
    assert describe_result(search, ROWS).endswith(expected)


@pytest.mark.parametrize("budget", ["12s", "6"])
def test_of_a_large_table_nothing_is_to_be_confirmed(
    budget: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One fold was planned: neither a time nor a number of trials left any out."""
    search = FakeFits(tmp_path, best_on_all, monkeypatch).search(budget, rows=MANY_ROWS)
    assert describe_result(search, MANY_ROWS).endswith(
        ": log loss 0.2000 on the training rows held out, 0.5000 without tuning"
    )


def test_finalists_that_fail_later_are_compared_on_the_folds_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each fails on the fourth fold; on three of them another one is the best than on the first."""

    def fail(trial: int, fold: int) -> float:
        if fold == 3:
            raise DataError("training diverged: so")
        return best_on_others(trial, fold)

    search = FakeFits(tmp_path, fail, monkeypatch).search("6")
    assert (search.folds, search.best) == (3, 4)
    result = describe_result(search, ROWS)
    assert " on 3 of 5 folds, " in result
    assert result.endswith("; each of the best failed on another fold")


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        ("0.5s", "the only trial failed: training diverged: so"),
        ("5s", "none of 4 trials was completed; the first: training diverged: so"),
    ],
)
def test_a_time_ends_though_all_trials_fail(
    seconds: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where none completes an epoch; the error has the reason."""

    def fail(_trial: int, _fold: int) -> float:
        raise DataError("training diverged: so")

    with pytest.raises(DataError, match=f"^{said}$"):
        FakeFits(tmp_path, fail, monkeypatch).search(seconds)


@pytest.mark.parametrize("budget", ["9", "100s"])
def test_a_search_without_options_left_says_so(
    budget: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has tried the six widths that there are; the sixth is the last."""
    every = {name: getattr(configure(), name) for name in SPACE if name != "hidden"}
    search = FakeFits(tmp_path, best_on_all, monkeypatch).search(budget, **every)
    assert len(search.trials) == 6
    result = describe_result(search, ROWS)
    assert result.startswith("the best of 6 trials has hidden ")
    assert result.endswith(", 0.5000 without tuning; no other options were found to try")


def test_trials_beyond_the_table_are_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The table has the best ten; the rest is in the run."""
    for budget, said in (("10", ""), ("11", "and 1 more, in tuning.json of the run")):
        folder = tmp_path / budget
        folder.mkdir()
        search = FakeFits(folder, best_on_all, monkeypatch).search(budget)
        shown = format_search(search, sys.stderr)
        assert shown.splitlines()[2].split()[0] == "6", "the best trial is the first"
        assert shown.endswith(said)
        assert ("tuning.json" in shown) == bool(said)
