"""What a search draws, and the parts of the rows that it holds out."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from runtime.errors import DataError, UsageError
from trainer.config import PRESETS, Configuration, Options, configure
from trainer.data.products import synthetic_products
from trainer.tuning.budget import Budget, parse_budget
from trainer.tuning.holdout import FOLDS, assign_folds, hold_out
from trainer.tuning.space import SPACE, propose

if TYPE_CHECKING:
    from trainer.checkpoint.trials import OptionValue


def test_options_that_are_searched_are_options_of_a_fit() -> None:
    """Each line of the space has its option on the command line and in Python."""
    assert SPACE.keys() < Options.__annotations__.keys()


@given(
    seed=st.integers(0, 99), free=st.sets(st.sampled_from(list(SPACE)), min_size=1), at=st.data()
)
def test_trials_differ_and_can_be_configured(seed: int, free: set[str], at: st.DataObject) -> None:
    """The first is the fit without a search; others near the best one, or anywhere."""
    base = configure(seed=seed, epochs=at.draw(st.integers(1, 100)))
    tried: list[dict[str, object]] = []
    while len(tried) < 12:
        best = at.draw(st.sampled_from(tried)) if tried else None
        options = propose(base, sorted(free), tried, best)  # type: ignore[arg-type]
        if options is None:
            assert "learning_rate" not in free, "it has more values"
            break
        assert options == propose(base, sorted(free), tried, best)  # type: ignore[arg-type]
        assert options.keys() == free
        assert options not in tried
        changed = replace(base, **options)  # type: ignore[arg-type]
        assert tried or changed == base
        tried.append(dict(options))


def test_options_far_from_the_best_are_tried_where_those_near_it_have_been() -> None:
    """All values of a single option are, whichever is the best."""
    base = configure(seed=1)
    tried: list[dict[str, OptionValue]] = []
    while options := propose(base, ["hidden"], tried, tried[0] if tried else None):
        tried.append(options)
    assert sorted(str(each["hidden"]) for each in tried) == sorted(
        map(str, [(16,), (32,), (64,), (64, 64), (128,), (128, 64)])
    )


def test_values_near_another_are_of_the_space() -> None:
    """The next choice; a number at most twice as large or small."""
    base, rng = Configuration(), random.Random(1)  # noqa: S311 - no secret
    rates = SPACE["learning_rate"](base, {"optimiser": "adamw"})
    for _ in range(100):
        near = rates.near(0.0007, rng)
        assert near in rates
        assert isinstance(near, float)
        assert 0.0005 <= near <= 0.0014
    hidden = SPACE["hidden"](base, {})
    assert {hidden.near((32,), rng) for _ in range(50)} == {(16,), (64,)}
    wide = PRESETS["accurate"]  # its own values are among those near others
    assert {SPACE["hidden"](wide, {}).near((128, 64), rng) for _ in range(50)} == {(128,), (256,)}
    assert {SPACE["bins"](wide, {}).near(16, rng) for _ in range(50)} == {8, 32}


@given(labels=st.lists(st.integers(0, 3), min_size=5, max_size=200), seed=st.integers(0, 9))
def test_folds_have_the_same_share_of_every_class(labels: list[int], seed: int) -> None:
    """Each row is in one fold; class by class, and in all, the sizes differ by one at most."""
    classes = torch.tensor(labels)
    fold = assign_folds(classes, seed)
    assert torch.equal(fold, assign_folds(classes, seed))
    for rows in (fold, *(fold[classes == each] for each in set(labels))):
        counts = rows.bincount(minlength=FOLDS)
        assert len(counts) == FOLDS
        assert counts.max() - counts.min() <= 1


def test_test_rows_have_no_part_in_a_search() -> None:
    """The rows held out come from the training rows."""
    dataset = synthetic_products(1, train_rows=103)
    rows = dataset.rows
    fold = assign_folds(rows.train_labels, 1)
    parts = [hold_out(dataset, fold, each).rows for each in range(FOLDS)]
    held_out = torch.cat([part.test_features for part in parts])
    assert sorted(held_out.tolist()) == sorted(rows.train_features.tolist())
    for part in parts:
        together = torch.cat([part.train_features, part.test_features])
        assert sorted(together.tolist()) == sorted(rows.train_features.tolist())
    with pytest.raises(DataError, match="holds out a fifth of the training rows, and there are 4"):
        assign_folds(torch.tensor([0, 1, 0, 1]), 1)


@pytest.mark.parametrize(
    ("given", "budget"),
    [
        (20, Budget(trials=20)),
        (" 2 ", Budget(trials=2)),
        ("60s", Budget(seconds=60)),
        ("1.5m", Budget(seconds=90)),
        ("1h", Budget(seconds=3600)),
    ],
)
def test_a_budget_is_trials_or_a_time(given: str | int, budget: Budget) -> None:
    """A number alone is trials; what is printed is read again."""
    assert parse_budget(given) == budget
    assert parse_budget(str(budget)) == budget


@pytest.mark.parametrize(
    "given", ["1", "0s", "", "-3", "60 s", "20trials", "1e3s", "10001", "٣", "9" * 400 + "s"]
)
def test_another_budget_is_refused(given: str) -> None:
    """The message says what is taken."""
    with pytest.raises(UsageError, match=r"takes 2 to 10,000 trials, such as 20, or a time"):
        parse_budget(given)
