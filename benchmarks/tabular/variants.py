"""The default preset, and what it would be with one choice made otherwise."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from trainer.config import PRESETS
from trainer.recipe import configure_for_table

if TYPE_CHECKING:
    from collections.abc import Callable

    from trainer.config import Configuration

Options = dict[str, Any]  # keywords of ``trainer.fit_table``
_TYPICAL = ((300, 10), (1_000, 10), (5_000, 10))  # tables that the default treats differently

# By contender, from what the default is for a table, so that nothing else changes with it.
VARIANTS: dict[str, Callable[[Configuration], Options]] = {
    "one member without folds": lambda _default: {"members": 1},
    "without folds": lambda _default: {"folds": 0},
    "without temperature": lambda _default: {"calibrate": False},
    "twice the members": lambda default: {"members": 2 * default.members},
    "bins of uneven numbers alone": lambda _default: {"bins": 0},
    "8 bins": lambda default: {"bins": min(default.bins, 8)},
    "32 bins": lambda default: {"bins": 2 * default.bins},
    "16 bins for few rows, too": lambda _default: {"bins": 16},
    "32 units": lambda _default: {"hidden": 32},
    "twice the units": lambda default: {"hidden": 2 * default.hidden[0]},
    "two layers": lambda default: {"hidden": list(default.hidden * 2)},
    "few rows as more rows": lambda _default: {"members": 5, "folds": 5, "hidden": 128},
    "gradient descent": lambda _default: {"optimiser": "sgd"},
    "without weight decay": lambda _default: {"weight_decay": 0.0},
    "without warm-up": lambda _default: {"schedule": "cosine"},
    "constant rate": lambda _default: {"schedule": "constant"},
    "one network of 32 by gradient descent": lambda _default: {
        "members": 1,
        "hidden": 32,
        "bins": 0,
        "optimiser": "sgd",
        "batch_size": 32,
    },
}
OURS = (*(preset for preset in PRESETS if preset != "tutorial"), *VARIANTS)  # that is a lesson


def options_of(contender: str, shape: tuple[int, int]) -> Options:
    """Return the options of a preset, or of a variant of the default for a table of this shape."""
    if contender not in VARIANTS:
        return {"preset": contender}
    return VARIANTS[contender](configure_for_table(None, {}, shape))


def effect_of(variant: str) -> str:
    """Describe what a variant comes to: another with the same name has other results."""
    return str([options_of(variant, shape) for shape in _TYPICAL])
