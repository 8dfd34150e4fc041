"""How good a classifier is, on rows whose class is known.

In: labels and probabilities. Out: frozen figures. No errors; what has no value, as the accuracy
in an empty bin, is NaN, and None in a ``Evaluation``, which is stored as JSON.
``runtime.monitoring.accuracy`` counts the labels.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from runtime.bundle.manifest import Record
from runtime.monitoring.accuracy import (
    ClassScore,
    Interval,
    class_scores,
    confusion_matrix,
    wilson_interval,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    Labels = npt.NDArray[np.int64]
    Probabilities = npt.NDArray[np.float64]

BINS = 10


class Evaluation(Record, frozen=True):
    """What is said of a model on rows that it was not fitted to.

    Attributes:
        rows: how many.
        accuracy: share of right labels, with its 95 % interval.
        baseline: share of rows whose class is the one most frequent in training: an accuracy
            that needs no model.
        macro_f1: mean F1 of the classes, one without rows and answers left out.
        roc_auc: see ``roc_auc``; None where only one class has rows.
        log_loss: nats.
        brier: 0 to 2.
        calibration_error: 0 to 1.
        classes: precision, recall and F1 of each.
        confusion: rows by true class, then by answered class.
    """

    rows: int
    accuracy: Interval
    baseline: float
    macro_f1: float
    roc_auc: float | None
    log_loss: float
    brier: float
    calibration_error: float
    classes: tuple[ClassScore, ...]
    confusion: tuple[tuple[int, ...], ...]


def evaluate(
    truth: Labels, probabilities: Probabilities, names: Sequence[str], *, majority: int
) -> Evaluation:
    """Evaluate a model's answers.

    Args:
        truth: ``(rows,)``, at least one row.
        probabilities: ``(rows, classes)``, finite; the largest is the answer, the first of equals.
        names: of the classes.
        majority: the class most frequent in training.

    Returns:
        The figures.
    """
    answers = probabilities.argmax(axis=1)  # (rows,)
    counts = confusion_matrix(truth, answers, len(names))
    scores = class_scores(counts, names)
    auc = roc_auc(truth, probabilities)
    return Evaluation(
        rows=len(truth),
        accuracy=wilson_interval(int((answers == truth).sum()), len(truth)),
        baseline=float((truth == majority).mean()),
        macro_f1=float(np.mean([each.f1 for each in scores if each.f1 is not None])),
        roc_auc=None if np.isnan(auc) else auc,
        log_loss=log_loss(truth, probabilities),
        brier=brier(truth, probabilities),
        calibration_error=calibration_error(reliability(truth, probabilities)),
        classes=scores,
        confusion=tuple(tuple(map(int, line)) for line in counts),
    )


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


def roc_auc(truth: Labels, probabilities: Probabilities) -> float:
    """Area under the receiver operating characteristic curve.

    Of a class it is the chance that one of its rows has a larger probability of it than a row of
    another class, equals counting half: the Mann-Whitney statistic (Hanley and McNeil, Radiology
    143, 1982). Of two classes that of the second is taken, of more the mean over the classes.

    Args:
        truth: ``(rows,)``.
        probabilities: ``(rows, classes)``.

    Returns:
        0 to 1; classes without rows, or with all of them, are left out; NaN when no other is left.
    """
    classes = probabilities.shape[1]
    judged = range(classes) if classes > 2 else (1,)  # noqa: PLR2004 - of two, one tells both
    areas = [_area(truth == at, probabilities[:, at]) for at in judged]
    known = [area for area in areas if not np.isnan(area)]
    return float(np.mean(known)) if known else float("nan")


def _area(of_class: npt.NDArray[np.bool_], scores: npt.NDArray[np.float64]) -> float:
    """The Mann-Whitney statistic over all pairs, from the ranks of the rows of one class."""
    inside, outside = int(of_class.sum()), int((~of_class).sum())
    if not inside or not outside:
        return float("nan")
    _, place, rows = np.unique(scores, return_inverse=True, return_counts=True)
    ranks = np.cumsum(rows) - (rows - 1) / 2  # of equals, the middle one
    above = float(ranks[place[of_class]].sum()) - inside * (inside + 1) / 2
    return above / (inside * outside)


def _share(part: float, whole: float) -> float:
    return part / whole if whole else float("nan")
