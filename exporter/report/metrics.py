"""How good a classifier's probabilities are, on rows whose class is known.

In: labels and probabilities. Out: frozen figures. No errors; what has no value, as the accuracy
in an empty bin, is NaN. ``runtime.monitoring.confusion`` judges the labels.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt

    Labels = npt.NDArray[np.int64]
    Probabilities = npt.NDArray[np.float64]

BINS = 10


@dataclass(frozen=True)
class Bin:
    """Rows whose top probability lies between two tenths.

    Attributes:
        low: lower end.
        high: upper end.
        rows: how many.
        confidence: mean top probability; NaN without rows.
        accuracy: share of right labels; NaN without rows.
    """

    low: float
    high: float
    rows: int
    confidence: float
    accuracy: float


def reliability(truth: Labels, probabilities: Probabilities) -> tuple[Bin, ...]:
    """Sort rows by their top probability into ten bins of equal width.

    Args:
        truth: ``(rows,)``.
        probabilities: ``(rows, classes)``.

    Returns:
        The bins, the upper end of each inside it.
    """
    top = probabilities.max(axis=1)  # (rows,)
    right = probabilities.argmax(axis=1) == truth
    place = np.clip(np.ceil(top * BINS).astype(np.int64) - 1, 0, BINS - 1)
    bins = []
    for at in range(BINS):
        chosen = place == at
        rows = int(chosen.sum())
        confidence = float(top[chosen].mean()) if rows else float("nan")
        accuracy = float(right[chosen].mean()) if rows else float("nan")
        bins.append(Bin(at / BINS, (at + 1) / BINS, rows, confidence, accuracy))
    return tuple(bins)


def calibration_error(bins: tuple[Bin, ...]) -> float:
    """Expected calibration error (Naeini, Cooper and Hauskrecht, AAAI 2015).

    Args:
        bins: of all rows.

    Returns:
        The mean over rows of ``|accuracy - confidence|`` in their bin, 0 to 1.
    """
    rows = sum(each.rows for each in bins)
    gaps = (each.rows * abs(each.accuracy - each.confidence) for each in bins if each.rows)
    return _share(sum(gaps), rows)


def brier(truth: Labels, probabilities: Probabilities) -> float:
    """Brier score (Brier, Monthly Weather Review 78, 1950), summed over classes, 0 to 2."""
    wanted = np.eye(probabilities.shape[1])[truth]  # (rows, classes)
    return float(((probabilities - wanted) ** 2).sum(axis=1).mean())


def log_loss(truth: Labels, probabilities: Probabilities) -> float:
    """Mean negative logarithm of the true class's probability, in nats."""
    chosen = probabilities[np.arange(len(truth)), truth]
    smallest = np.finfo(np.float32).tiny  # a probability that rounds to 0 is not infinitely wrong
    return float(-np.log(np.maximum(chosen, smallest)).mean())


def _share(part: float, whole: float) -> float:
    return part / whole if whole else float("nan")
