"""The population-stability index: how far shares of rows have moved.

In: shares of rows in bins. Out: the index and its usual reading. No errors.

It compares the shares of rows a (scored) and e (training) in bins between training's deciles:

    PSI = sum over bins of (a - e) * ln(a / e)

It is Jeffreys' divergence (*Proceedings of the Royal Society A* 186, 1946), known by this name
from credit scoring with its usual reading: below 0.1 stable, to 0.25 shifted, above drifted
(Siddiqi, *Credit Risk Scorecards*, 2006). A share below ``SMALLEST_SHARE`` counts as that much:
an empty bin would make the index infinite. For rows of the same distribution, PSI divided by
(1 / scored rows + 1 / training rows) is about chi-square with one degree of freedom less than
there are bins (Yurdakul, *Statistical Properties of Population Stability Index*, Western Michigan
University, 2018): below ``FEWEST_ROWS`` scored rows chance alone comes near 0.1, and nothing is
read in the index.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

SMALLEST_SHARE: Final = 1e-4
FEWEST_ROWS: Final = 200
SHIFTED_FROM: Final = 0.1
DRIFTED_ABOVE: Final = 0.25

Reading = Literal["stable", "shifted", "drifted", "too few rows"]


def stability_index(training: Sequence[float], scored: Sequence[float]) -> float:
    """Compute the population-stability index.

    Args:
        training: share of rows in each bin, 0 to 1.
        scored: likewise.

    Returns:
        0 for equal shares, more the more they differ; finite.
    """
    expected, actual = np.maximum(training, SMALLEST_SHARE), np.maximum(scored, SMALLEST_SHARE)
    return float(np.sum((actual - expected) * np.log(actual / expected)))


def read_index(psi: float | None, rows: int) -> Reading:
    """Say what an index is usually taken to mean.

    Args:
        psi: the index; None without rows.
        rows: that were scored.

    Returns:
        The reading; none is made of too few rows.
    """
    if psi is None or rows < FEWEST_ROWS:
        return "too few rows"
    if psi < SHIFTED_FROM:
        return "stable"
    return "shifted" if psi <= DRIFTED_ABOVE else "drifted"
