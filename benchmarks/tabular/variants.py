"""The default preset, and what it would be with one choice made otherwise."""

from __future__ import annotations

from typing import Any

from trainer.config import PRESETS

# Keywords of ``trainer.fit_table`` by contender.
VARIANTS: dict[str, dict[str, Any]] = {
    "one member without folds": {"members": 1},
    "without folds": {"folds": 0},
    "without temperature": {"calibrate": False},
    "10 members": {"members": 10},
    "without bins": {"bins": 0},
    "8 bins": {"bins": 8},
    "32 bins": {"bins": 32},
    "32 units": {"hidden": 32},
    "256 units": {"hidden": 256},
    "two layers of 128 units": {"hidden": [128, 128]},
    "few rows as more rows": {"members": 5, "folds": 5, "hidden": 128},
    "gradient descent": {"optimiser": "sgd"},
    "without weight decay": {"weight_decay": 0.0},
    "without warm-up": {"schedule": "cosine"},
    "constant rate": {"schedule": "constant"},
    "one network of 32 by gradient descent": {
        "members": 1,
        "hidden": 32,
        "bins": 0,
        "optimiser": "sgd",
        "batch_size": 32,
    },
}
OURS = (*(preset for preset in PRESETS if preset != "tutorial"), *VARIANTS)  # that is a lesson


def options_of(contender: str) -> dict[str, Any]:
    """Return the keywords of ``trainer.fit_table`` for a preset or a variant of the default."""
    return VARIANTS.get(contender) or {"preset": contender}
