"""The population stability index of a feature, and its interpretation."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from runtime.schema.features import Feature

PsiReading = Literal["stable", "shifted", "drifted", "too few rows", "constant", "no reference"]

MIN_SHARE: Final = 1e-4
MIN_ROWS: Final = 200
SHIFTED_FROM: Final = 0.1
DRIFTED_ABOVE: Final = 0.25


def population_stability_index(training: Sequence[float], scored: Sequence[float]) -> float:
    """Compute the population stability index of two histograms."""
    expected, actual = np.maximum(training, MIN_SHARE), np.maximum(scored, MIN_SHARE)
    return float(np.sum((actual - expected) * np.log(actual / expected)))


def interpret_psi(feature: Feature, psi: float | None, rows: int) -> tuple[PsiReading, str | None]:
    """Interpret an index by the usual thresholds, or say why it cannot be."""
    if not feature.shares:
        return "no reference", "the bundle has no distribution of its training values"
    if feature.is_constant:
        return "constant", "one value in training, so there is no distribution to compare"
    if psi is None or rows < MIN_ROWS:
        return "too few rows", f"{rows:,} with a value, {MIN_ROWS} are needed"
    if psi < SHIFTED_FROM:
        return "stable", None
    return ("shifted" if psi <= DRIFTED_ABOVE else "drifted"), None
