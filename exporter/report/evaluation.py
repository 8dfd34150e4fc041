"""The section on answer quality: the served model on the test rows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from exporter.report.curves import Plot, draw_curves
from exporter.report.drawing import UNIT_X, UNIT_Y, format_percent
from trainer.evaluation.metrics import (
    Bin,
    Evaluation,
    class_shares,
    compute_evaluation,
    reliability,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy.typing as npt

    from runtime.schema.features import Float32Matrix
    from runtime.session import Outputs
    from trainer.data.dataset import LabelledRows

MAX_CLASSES = 12  # a larger matrix is less readable than its most frequent errors
_ERRORS = 20


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

    metrics: Evaluation
    without_output: int  # rows without a finite output, which are not in the metrics
    matrix: tuple[tuple[Count, ...], ...]  # true by predicted class; empty for many classes
    errors: tuple[ClassError, ...]  # most frequent first, for many classes
    roc: Plot
    precision_recall: Plot
    bars: tuple[Bar, ...]  # of the reliability diagram


def evaluate_test_rows(
    names: tuple[str, ...],
    run: Callable[[Float32Matrix], Outputs],
    test: LabelledRows | None,
    train: LabelledRows | None = None,
) -> EvaluationResult | None:
    """Run the test rows and compare with their classes; None where there are none.

    The baselines predict the shares of the classes in ``train``, or in ``test`` without any.
    """
    if test is None or not len(test.labels):
        return None
    outputs = run(test.features)
    finite = outputs.finite_rows()  # (rows,)
    actual = test.labels[finite]
    if not len(actual):
        return None
    probabilities = outputs.probabilities[finite].astype(np.float64)
    known = train if train is not None and len(train.labels) else test
    metrics = compute_evaluation(
        actual,
        probabilities,
        names,
        shares=class_shares(known.labels, len(names)),
        predicted=outputs.label[finite],
    )
    many = len(names) > MAX_CLASSES
    return EvaluationResult(
        metrics=metrics,
        without_output=int((~finite).sum()),
        matrix=() if many else _matrix(metrics),
        errors=_most_frequent_errors(metrics) if many else (),
        roc=draw_curves("roc", names, actual, probabilities),
        precision_recall=draw_curves("precision-recall", names, actual, probabilities),
        bars=tuple(_bar(each) for each in reliability(actual, probabilities) if each.rows),
    )


def _matrix(metrics: Evaluation) -> tuple[tuple[Count, ...], ...]:
    return tuple(
        tuple(
            Count(rows, rows / max(sum(line), 1), correct=at == column)
            for column, rows in enumerate(line)
        )
        for at, line in enumerate(metrics.confusion)
    )


def _most_frequent_errors(metrics: Evaluation) -> tuple[ClassError, ...]:
    wrong: npt.NDArray[np.int64] = np.array(metrics.confusion)
    np.fill_diagonal(wrong, 0)
    names = [score.name for score in metrics.classes]
    order = np.argsort(-wrong, axis=None, kind="stable")[:_ERRORS]
    pairs = (divmod(int(at), len(names)) for at in order if wrong.flat[at])
    return tuple(ClassError(names[a], names[b], int(wrong[a, b])) for a, b in pairs)


def _bar(each: Bin) -> Bar:
    x, y = UNIT_X.position(each.low), UNIT_Y.position(each.accuracy)
    return Bar(
        x=x + 1,
        y=y,
        width=round(UNIT_X.position(each.high) - x - 2, 1),
        height=round(UNIT_Y.position(0.0) - y, 1),
        expected=UNIT_Y.position(each.confidence),
        text=(
            f"{format_percent(each.low)} to {format_percent(each.high)}: {each.rows:,} rows, "
            f"accuracy {format_percent(each.accuracy)}, "
            f"confidence {format_percent(each.confidence)}"
        ),
    )
