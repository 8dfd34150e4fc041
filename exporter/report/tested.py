"""What the served model answers on the test rows.

In: the evidence. Out: ``Tested``, or None where no test rows are known. No errors.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from runtime.monitoring.accuracy import (
    ClassScore,
    Interval,
    class_scores,
    confusion_matrix,
    wilson_interval,
)
from trainer.metrics import Bin, brier, calibration_error, log_loss, reliability

if TYPE_CHECKING:
    from exporter.report.evidence import Evidence
    from runtime.monitoring.accuracy import Counts

MOST_CLASSES = 12  # a larger matrix says less than its largest mistakes
_MISTAKES = 20


@dataclass(frozen=True)
class Count:
    """A cell of the confusion matrix: rows, and their share of the true class."""

    rows: int
    share: float
    right: bool


@dataclass(frozen=True)
class Mistake:
    """Rows of one class that were answered as another."""

    truth: str
    answer: str
    rows: int


@dataclass(frozen=True)
class Tested:
    """Figures on the test rows.

    Attributes:
        rows: with a finite answer.
        unanswered: without one.
        accuracy: share of right labels.
        baseline: share of the most frequent class, which needs no model.
        matrix: true class by answered class; empty for many classes.
        mistakes: most frequent first; for many classes.
        scores: of each class.
        bins: of the reliability diagram.
        calibration_error: 0 to 1.
        brier: 0 to 2.
        log_loss: nats.
    """

    rows: int
    unanswered: int
    accuracy: Interval
    baseline: float
    matrix: tuple[tuple[Count, ...], ...]
    mistakes: tuple[Mistake, ...]
    scores: tuple[ClassScore, ...]
    bins: tuple[Bin, ...]
    calibration_error: float
    brier: float
    log_loss: float


def judge_test_rows(evidence: Evidence) -> Tested | None:
    """Answer the test rows and compare with their classes."""
    test, names = evidence.test, evidence.manifest.schema.classes
    if test is None or not len(test.labels):
        return None
    outputs = evidence.answer(test.features)
    answered = outputs.finite_rows()  # (rows,)
    truth = test.labels[answered]
    if not len(truth):
        return None
    probabilities = outputs.probabilities[answered].astype(np.float64)
    labels = outputs.label[answered]
    counts = confusion_matrix(truth, labels, len(names))
    bins = reliability(truth, probabilities)
    many = len(names) > MOST_CLASSES
    return Tested(
        rows=len(truth),
        unanswered=int((~answered).sum()),
        accuracy=wilson_interval(int((labels == truth).sum()), len(truth)),
        baseline=float(counts.sum(axis=1).max() / len(truth)),
        matrix=() if many else _matrix(counts),
        mistakes=_mistakes(counts, names) if many else (),
        scores=class_scores(counts, names),
        bins=bins,
        calibration_error=calibration_error(bins),
        brier=brier(truth, probabilities),
        log_loss=log_loss(truth, probabilities),
    )


def _matrix(counts: Counts) -> tuple[tuple[Count, ...], ...]:
    return tuple(
        tuple(
            Count(int(rows), float(rows / max(line.sum(), 1)), right=at == column)
            for column, rows in enumerate(line)
        )
        for at, line in enumerate(counts)
    )


def _mistakes(counts: Counts, names: tuple[str, ...]) -> tuple[Mistake, ...]:
    wrong = counts.copy()
    np.fill_diagonal(wrong, 0)
    order = np.argsort(-wrong, axis=None, kind="stable")[:_MISTAKES]
    pairs = (divmod(int(at), len(names)) for at in order if wrong.flat[at])
    return tuple(Mistake(names[a], names[b], int(wrong[a, b])) for a, b in pairs)
