from __future__ import annotations

import math
from dataclasses import replace

import pytest

from runtime.errors import UsageError
from trainer.config import Configuration, configure, override


def test_options_default_to_the_preset() -> None:
    """An option overrides the preset's value and leaves the others."""
    assert configure("tutorial") == Configuration(
        preset="tutorial", standardise=False, learning_rate=0.01
    )
    assert configure("tutorial", epochs=3, seed=5) == Configuration(
        preset="tutorial", standardise=False, learning_rate=0.01, epochs=3, seed=5
    )


def test_the_default_preset_is_the_default_configuration() -> None:
    """Defaults are defined once."""
    assert configure() == Configuration()


@pytest.mark.parametrize(
    "options",
    [
        {"epochs": 0},
        {"batch_size": 0},
        {"learning_rate": 0.0},
        {"learning_rate": -0.1},
        {"learning_rate": math.nan},
        {"learning_rate": math.inf},
        {"learning_rate": 1e39},
        {"seed": -1},
        {"seed": 2**63},
    ],
    ids=lambda options: " ".join(f"{name}={value}" for name, value in options.items()),
)
def test_an_option_out_of_its_range_is_refused_by_name(options: dict[str, float]) -> None:
    """The message names the option and the value."""
    ((name, value),) = options.items()
    with pytest.raises(UsageError) as refused:
        configure(**options)  # type: ignore[arg-type]  # a table of floats and integers
    assert name.replace("_", " ") in str(refused.value)
    assert str(value) in str(refused.value)


def test_options_of_a_preset_follow_those_that_are_set() -> None:
    """A preset's folds, patience and calibration never make an option of the user's an error."""
    preset = Configuration(members=5, folds=5, calibrate=True, patience=9)
    assert override(preset, {}) == preset
    alone = replace(preset, members=1, folds=0, calibrate=False, patience=None)
    assert override(preset, {"members": 1}) == alone
    assert override(preset, {"members": 3}) == replace(preset, members=3, folds=3)
    assert override(preset, {"members": 8}) == replace(preset, members=8)
    assert override(preset, {"validation": 0.1}) == replace(preset, validation=0.1, folds=0)
    assert override(preset, {"folds": 0}) == replace(alone, members=5)
    for wrong in ({"folds": 0, "calibrate": True}, {"folds": 5, "validation": 0.1}):
        with pytest.raises(UsageError):
            override(preset, wrong)


def test_hidden_layers_need_units() -> None:
    """A layer of width 0 would disconnect the network."""
    with pytest.raises(UsageError, match="hidden"):
        Configuration(hidden=(32, 0))


def test_the_record_of_a_configuration_holds_every_option() -> None:
    """With seed and hidden widths it is the complete configuration."""
    record = configure("tutorial", batch_size=7).to_record("cuda")
    assert record == {
        "preset": "tutorial",
        "standardise": False,
        "bins": 0,
        "learning_rate": 0.01,
        "schedule": "constant",
        "optimiser": "sgd",
        "weight_decay": 0.0,
        "class_weights": "none",
        "epochs": 10,
        "batch_size": 7,
        "members": 1,
        "folds": 0,
        "validation": 0.0,
        "calibrate": False,
        "patience": None,
        "device": "cuda",
    }
