"""What the presets choose for a table, by its rows and inputs.

Found on the developing half of ``benchmarks/public_tables.py``; ``benchmarks/ablation.py`` has what
each choice is worth, and ``benchmarks/means.py`` what was left out.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from trainer.config import PRESETS, configure, override

if TYPE_CHECKING:
    from trainer.config import Configuration, Optimiser, Options, Preset

_ACCURATE: Final = PRESETS["accurate"]
_DEFAULT: Final = replace(_ACCURATE, preset="default", hidden=(128,), bins=16, members=5, folds=5)
_RECIPES: Final[dict[Preset, Configuration]] = {"default": _DEFAULT, "accurate": _ACCURATE}

_EPOCHS, _STEPS = 30, 1_000  # at least
_VISITS: Final = 3_000_000  # at most: of a row in an epoch
_ROWS_OF_BINS: Final = 2_000  # fewer gain nothing by bins of all numbers: twice as fast without
_ROWS_OF_A_FOLD: Final = 4  # at least
_FEW_ROWS: Final = 500  # fewer gain by more and wider networks, and most fit in two seconds
_FEW_INPUTS: Final = 256  # more take twice as long with these as with the others
_ROWS_OF_SMALL_BATCHES, _LARGEST_BATCH = 50_000, 2_048
_TYPICAL: Final = (10_000, 10)


def configure_before_reading(
    preset: Preset | None, given: Options, *, has_table: bool
) -> Configuration:
    """Build the configuration of a fit whose table has not been read: to refuse what is wrong."""
    if has_table:
        return configure_for_table(preset, given, _TYPICAL)
    return configure(preset or "default", **given)


def configure_for_table(
    preset: Preset | None, given: Options, shape: tuple[int, int]
) -> Configuration:
    """Build the configuration of a fit to a table.

    Args:
        preset: supplies every option that is not set; None is the default.
        given: options that override it; None is not set.
        shape: numbers of training rows and of the model's inputs, before bins.

    Returns:
        A complete configuration; the tutorial's depends on nothing of the table.

    Raises:
        UsageError: when an option is out of its range.
    """
    preset = preset or "default"
    if preset not in _RECIPES:
        return configure(preset, **given)
    options = {name: value for name, value in given.items() if value is not None}
    rows, inputs = shape
    is_small = rows < _FEW_ROWS and inputs <= _FEW_INPUTS
    recipe = replace(_ACCURATE if is_small else _RECIPES[preset], preset=preset)
    recipe = replace(recipe, **_by_rows(recipe, rows), **_by_optimiser(given.get("optimiser")))
    if given.get("folds") or given.get("validation"):  # few rows have neither by themselves
        options = {"calibrate": True, **options}
    if (folds := given.get("folds") or 0) > recipe.members:
        recipe = replace(recipe, members=folds)
    return override(recipe, options)


def _by_rows(recipe: Configuration, rows: int) -> dict[str, Any]:
    """Choose what depends on the number of rows alone."""
    doublings = max(0, math.floor(math.log2(max(rows, 1) / _ROWS_OF_SMALL_BATCHES)) + 1)
    size = min(recipe.batch_size * 2**doublings, _LARGEST_BATCH)
    epochs = max(_EPOCHS, math.ceil(_STEPS / math.ceil(max(rows, 1) / size)))
    folds = min(recipe.folds, rows // _ROWS_OF_A_FOLD)
    folds = folds if folds > 1 else 0
    return {
        "batch_size": size,
        "epochs": max(2, min(epochs, _VISITS // max(rows, 1))),
        "bins": recipe.bins if rows >= _ROWS_OF_BINS else 0,
        "folds": folds,
        "calibrate": folds > 0,
    }


def _by_optimiser(optimiser: Optimiser | None) -> dict[str, Any]:
    """Choose what goes with plain gradient descent, if that was asked for."""
    if optimiser != "sgd":
        return {}
    return {"learning_rate": 0.1, "weight_decay": 0.0, "schedule": "cosine"}
