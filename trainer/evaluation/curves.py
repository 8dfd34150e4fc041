"""ROC and precision-recall curves of one class against all others, with their areas."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt

    Mask = npt.NDArray[np.bool_]
    Float64Vector = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Curve:
    """A curve in the unit square.

    Attributes:
        x: ``(points,)`` float64, ascending, 0 to 1.
        y: ``(points,)`` float64, 0 to 1.
        area: under the curve, 0 to 1.
        baseline: the area that guessing gives.
    """

    x: Float64Vector
    y: Float64Vector
    area: float
    baseline: float


def roc_curve(of_class: Mask, scores: Float64Vector) -> Curve | None:
    """Compute the true positive rate over the false positive rate, at every distinct score.

    The area is the Mann-Whitney statistic (Hanley and McNeil, Radiology 143, 1982): the
    probability that a row of the class scores higher than another, ties counting half.

    Args:
        of_class: ``(rows,)`` bool, whether a row has the class.
        scores: ``(rows,)`` float64, its probability.

    Returns:
        The curve from (0, 0) to (1, 1); None where all rows have the class, or none has it.
    """
    hits, alarms = _cumulative_counts(of_class, scores)
    if not hits[-1] or not alarms[-1]:
        return None
    x, y = alarms / alarms[-1], hits / hits[-1]
    return Curve(x, y, float((np.diff(x) * (y[1:] + y[:-1]) / 2).sum()), 0.5)


def precision_recall_curve(of_class: Mask, scores: Float64Vector) -> Curve | None:
    """Compute precision over recall, at every distinct score.

    The area is the average precision: the precision of each threshold, weighted with the recall
    that it adds (Manning, Raghavan and Schütze, Introduction to Information Retrieval, ch. 8).

    Args:
        of_class: ``(rows,)`` bool, whether a row has the class.
        scores: ``(rows,)`` float64, its probability.

    Returns:
        The curve, whose baseline is the share of the class; None where no row has it.
    """
    hits, alarms = (counts[1:] for counts in _cumulative_counts(of_class, scores))
    if not len(hits) or not hits[-1]:
        return None
    recall, precision = hits / hits[-1], hits / (hits + alarms)
    area = float((np.diff(recall, prepend=0.0) * precision).sum())
    return Curve(recall, precision, area, float(hits[-1] / len(of_class)))


def _cumulative_counts(
    of_class: Mask, scores: Float64Vector
) -> tuple[Float64Vector, Float64Vector]:
    """Count rows of the class and others at or above each distinct score, after a first 0."""
    order = np.argsort(-scores, kind="stable")
    last_of_tie = np.flatnonzero(np.diff(scores[order], append=np.nan) != 0)
    hits = np.cumsum(of_class[order])[last_of_tie].astype(np.float64)
    alarms = last_of_tie + 1 - hits
    return np.concatenate([[0.0], hits]), np.concatenate([[0.0], alarms])
