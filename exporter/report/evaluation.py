"""The evaluation section: the served model on the test rows, and how well calibrated it is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from exporter.report.drawing import Scale, format_percent
from runtime.monitoring.accuracy import (
    ClassScore,
    Interval,
    class_scores,
    confusion_matrix,
    wilson_interval,
)
from trainer.evaluation.metrics import Bin, brier, calibration_error, log_loss, reliability

if TYPE_CHECKING:
    from collections.abc import Callable

    from runtime.monitoring.accuracy import Counts
    from runtime.schema.features import Float32Matrix
    from runtime.session import Outputs
    from trainer.data.dataset import LabelledRows

MAX_CLASSES = 12  # a larger matrix is less readable than its most frequent errors
_ERRORS = 20
# The reliability diagram, in user units, with its margins.
SIZE, LEFT, BOTTOM, EDGE = 340, 44, 44, 10
X = Scale(0.0, 1.0, LEFT, SIZE - EDGE)
Y = Scale(0.0, 1.0, SIZE - BOTTOM, EDGE)


@dataclass(frozen=True)
class Count:
    """A cell of the confusion matrix."""

    rows: int
    share: float  # of the true class
    correct: bool


@dataclass(frozen=True)
class ClassError:
    """Rows of one class that were predicted as another."""

    actual: str
    predicted: str
    rows: int


@dataclass(frozen=True)
class Bar:
    """One bin of the reliability diagram, in user units."""

    x: float
    y: float
    width: float
    height: float
    expected: float  # y coordinate at which it would be calibrated
    text: str


@dataclass(frozen=True)
class EvaluationResult:
    """Metrics on the test rows."""

    rows: int  # with a finite output
    without_output: int  # without one
    accuracy: Interval
    baseline: float  # share of the most frequent class, which needs no model
    matrix: tuple[tuple[Count, ...], ...]  # true by predicted class; empty for many classes
    errors: tuple[ClassError, ...]  # most frequent first, for many classes
    scores: tuple[ClassScore, ...]  # of each class
    bars: tuple[Bar, ...]  # of the reliability diagram
    calibration_error: float  # 0 to 1
    brier: float  # 0 to 2
    log_loss: float  # nats


def evaluate_test_rows(
    names: tuple[str, ...], run: Callable[[Float32Matrix], Outputs], test: LabelledRows | None
) -> EvaluationResult | None:
    """Run the test rows and compare with their classes; None where there are none."""
    if test is None or not len(test.labels):
        return None
    outputs = run(test.features)
    finite = outputs.finite_rows()  # (rows,)
    actual = test.labels[finite]
    if not len(actual):
        return None
    probabilities = outputs.probabilities[finite].astype(np.float64)
    predicted = outputs.label[finite]
    counts = confusion_matrix(actual, predicted, len(names))
    bins = reliability(actual, probabilities)
    many = len(names) > MAX_CLASSES
    return EvaluationResult(
        rows=len(actual),
        without_output=int((~finite).sum()),
        accuracy=wilson_interval(int((predicted == actual).sum()), len(actual)),
        baseline=float(counts.sum(axis=1).max() / len(actual)),
        matrix=() if many else _matrix(counts),
        errors=_most_frequent_errors(counts, names) if many else (),
        scores=class_scores(counts, names),
        bars=tuple(_bar(each) for each in bins if each.rows),
        calibration_error=calibration_error(bins),
        brier=brier(actual, probabilities),
        log_loss=log_loss(actual, probabilities),
    )


def _matrix(counts: Counts) -> tuple[tuple[Count, ...], ...]:
    return tuple(
        tuple(
            Count(int(rows), float(rows / max(line.sum(), 1)), correct=at == column)
            for column, rows in enumerate(line)
        )
        for at, line in enumerate(counts)
    )


def _most_frequent_errors(counts: Counts, names: tuple[str, ...]) -> tuple[ClassError, ...]:
    wrong = counts.copy()
    np.fill_diagonal(wrong, 0)
    order = np.argsort(-wrong, axis=None, kind="stable")[:_ERRORS]
    pairs = (divmod(int(at), len(names)) for at in order if wrong.flat[at])
    return tuple(ClassError(names[a], names[b], int(wrong[a, b])) for a, b in pairs)


def _bar(each: Bin) -> Bar:
    x, y = X.position(each.low), Y.position(each.accuracy)
    return Bar(
        x=x + 1,
        y=y,
        width=round(X.position(each.high) - x - 2, 1),
        height=round(Y.position(0.0) - y, 1),
        expected=Y.position(each.confidence),
        text=(
            f"{format_percent(each.low)} to {format_percent(each.high)}: {each.rows:,} rows, "
            f"accuracy {format_percent(each.accuracy)}, "
            f"confidence {format_percent(each.confidence)}"
        ),
    )
