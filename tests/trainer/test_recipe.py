"""What presets choose for a table, and what gives way to options that were given."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainer.config import PRESETS, configure
from trainer.recipe import configure_before_reading, configure_for_table

if TYPE_CHECKING:
    from trainer.config import Options, Preset

ROWS = st.integers(1, 10**9)


@given(rows=ROWS, preset=st.sampled_from(["default", "accurate"]))
def test_every_number_of_rows_has_a_configuration(rows: int, preset: Preset) -> None:
    """It can be fitted, in a time that grows with the table but not beyond three of its epochs."""
    chosen = configure_for_table(preset, {}, (rows, 9))
    assert chosen.preset == preset
    assert chosen.epochs * rows <= max(3_000_000, 2 * rows, 1_000 * chosen.batch_size)
    assert chosen.folds == 0 or rows >= 4 * chosen.folds
    assert chosen.calibrate == (chosen.folds > 0)


def test_few_rows_have_neither_bins_nor_folds() -> None:
    """A few more have fewer folds, 2,000 all; a million have fewer epochs of larger batches."""
    sizes = (7, 19, 499, 500, 2_000, 1_000_000)
    few, more, less, enough, some, many = (
        configure_for_table(None, {}, (rows, 256)) for rows in sizes
    )
    assert (few.bins, few.folds, few.members) == (0, 0, 8)
    assert (more.bins, more.folds, more.members) == (0, 4, 8)
    assert less == replace(configure_for_table("accurate", {}, (499, 9)), preset="default")
    wide = configure_for_table(None, {}, (499, 257))  # would take minutes of many inputs
    assert (wide.bins, wide.folds, wide.members, wide.hidden) == (0, 5, 5, (128,))
    assert (enough.bins, enough.folds, enough.members, enough.hidden) == (0, 5, 5, (128,))
    assert (some.bins, some.folds, some.members) == (16, 5, 5)
    assert (some.batch_size, some.epochs) == (128, 63)
    assert (many.batch_size, many.epochs) == (2048, 3)


@pytest.mark.parametrize(
    ("given", "chosen"),
    [
        ({"members": 1}, {"members": 1, "folds": 0, "calibrate": False}),
        ({"members": 3}, {"members": 3, "folds": 3, "calibrate": True}),
        ({"folds": 7}, {"members": 7, "folds": 7, "calibrate": True}),
        ({"folds": 0}, {"members": 5, "folds": 0, "calibrate": False}),
        ({"validation": 0.2}, {"members": 5, "folds": 0, "calibrate": True}),
        ({"calibrate": False}, {"members": 5, "folds": 5, "calibrate": False}),
        ({"optimiser": "sgd"}, {"learning_rate": 0.1, "weight_decay": 0.0, "schedule": "cosine"}),
        ({"optimiser": "sgd", "learning_rate": 0.2}, {"learning_rate": 0.2}),
        ({"epochs": 4, "hidden": (8,), "bins": 0}, {"epochs": 4, "hidden": (8,), "bins": 0}),
    ],
)
def test_options_that_were_given_hold(given: Options, chosen: dict[str, object]) -> None:
    """What depends on them follows."""
    configuration = configure_for_table(None, given, (5_000, 9))
    assert {name: getattr(configuration, name) for name in chosen} == chosen


@pytest.mark.parametrize("given", [{"folds": 2}, {"validation": 0.3}])
def test_few_rows_are_calibrated_where_rows_are_held_out(given: Options) -> None:
    """They have no folds by themselves; with some a temperature, as larger tables."""
    assert configure_for_table(None, given, (7, 3)).calibrate
    assert not configure_for_table(None, given | {"calibrate": False}, (7, 3)).calibrate
    assert not configure_for_table(None, {}, (7, 3)).calibrate


def test_presets_without_a_recipe_know_nothing_of_the_table() -> None:
    """The tutorial is the tutorial; the products have presets of their own."""
    assert configure_for_table("tutorial", {"epochs": 3}, (10**6, 9)) == configure(
        "tutorial", epochs=3
    )
    for preset in PRESETS:
        assert configure_before_reading(preset, {}, has_table=False) == PRESETS[preset]
    assert configure_before_reading(None, {}, has_table=True).members == 5
