"""Metrics of a classifier, and their evaluation on rows whose class is known."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch.nn import functional

from runtime.monitoring.accuracy import (
    ClassScore,
    Interval,
    class_scores,
    confusion_matrix,
    wilson_interval,
)
from runtime.value import Record
from trainer.evaluation.calibration import best_temperature
from trainer.evaluation.curves import roc_curve

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    from trainer.data.dataset import Dataset
    from trainer.data.training_data import EvaluationRows
    from trainer.model import SimpleNet

    Labels = npt.NDArray[np.int64]
    Probabilities = npt.NDArray[np.float64]
    ClassShares = npt.NDArray[np.float64]

BINS = 10
BLOCK_ROWS = 8192  # evaluated at a time: their hidden layer stays in the cache


@dataclass(frozen=True)
class Scores:
    """Loss and accuracy on some rows.

    Attributes:
        loss: mean cross-entropy, of logits divided by the temperature.
        accuracy: 0 to 1.
        temperature: 1 leaves the logits as they are.
    """

    loss: float
    accuracy: float
    temperature: float = 1.0


class Evaluation(Record, frozen=True):
    """All metrics of a model on the test rows.

    Attributes:
        rows: number of test rows.
        accuracy: share of correct labels, with its 95 % interval.
        baseline: accuracy of always predicting the most frequent class in training.
        macro_f1: mean F1 of the classes; classes without rows and predictions are left out.
        roc_auc: see ``roc_auc``; None where only one class has rows.
        log_loss: nats.
        brier: see ``brier``; 0 to 1 for two classes, to 2 for more.
        brier_baseline: the same for predicting every row the share of each class in training.
        calibration_error: 0 to 1.
        classes: precision, recall and F1 of each.
        confusion: rows by true class, then by predicted class.
    """

    rows: int
    accuracy: Interval
    baseline: float
    macro_f1: float
    roc_auc: float | None
    log_loss: float
    brier: float
    brier_baseline: float
    calibration_error: float
    classes: tuple[ClassScore, ...]
    confusion: tuple[tuple[int, ...], ...]


def compute_evaluation(
    truth: Labels,
    probabilities: Probabilities,
    names: Sequence[str],
    *,
    shares: ClassShares,
    predicted: Labels | None = None,
) -> Evaluation:
    """Compute all metrics from labels ``(rows,)`` and probabilities ``(rows, classes)``.

    ``shares``, ``(classes,)``, are those of the classes in training, which the baselines predict;
    ``predicted``, ``(rows,)``, is the first class with the largest probability by default.
    """
    predicted = probabilities.argmax(axis=1) if predicted is None else predicted  # (rows,)
    counts = confusion_matrix(truth, predicted, len(names))
    scores = class_scores(counts, names)
    auc = roc_auc(truth, probabilities)
    return Evaluation(
        rows=len(truth),
        accuracy=wilson_interval(int((predicted == truth).sum()), len(truth)),
        baseline=float((truth == shares.argmax()).mean()),
        macro_f1=float(np.mean([each.f1 for each in scores if each.f1 is not None])),
        roc_auc=None if np.isnan(auc) else auc,
        log_loss=log_loss(truth, probabilities),
        brier=brier(truth, probabilities),
        brier_baseline=brier(truth, np.tile(shares, (len(truth), 1))),
        calibration_error=calibration_error(reliability(truth, probabilities)),
        classes=scores,
        confusion=tuple(tuple(map(int, line)) for line in counts),
    )


@dataclass(frozen=True)
class Bin:
    """A bin of rows by their top probability.

    Attributes:
        low: lower end.
        high: upper end.
        rows: number of rows.
        confidence: mean top probability; NaN without rows.
        accuracy: share of correct labels; NaN without rows.
    """

    low: float
    high: float
    rows: int
    confidence: float
    accuracy: float


def reliability(truth: Labels, probabilities: Probabilities) -> tuple[Bin, ...]:
    """Group rows by their top probability into ten bins of equal width, upper end inclusive."""
    top = probabilities.max(axis=1)  # (rows,)
    is_correct = probabilities.argmax(axis=1) == truth
    bin_of_row = np.clip(np.ceil(top * BINS).astype(np.int64) - 1, 0, BINS - 1)
    bins = []
    for at in range(BINS):
        chosen = bin_of_row == at
        rows = int(chosen.sum())
        confidence = float(top[chosen].mean()) if rows else float("nan")
        accuracy = float(is_correct[chosen].mean()) if rows else float("nan")
        bins.append(Bin(at / BINS, (at + 1) / BINS, rows, confidence, accuracy))
    return tuple(bins)


def calibration_error(bins: tuple[Bin, ...]) -> float:
    """Compute the expected calibration error (Naeini, Cooper and Hauskrecht, AAAI 2015), 0 to 1.

    It is the mean over rows of ``|accuracy - confidence|`` in their bin.
    """
    rows = sum(each.rows for each in bins)
    gaps = (each.rows * abs(each.accuracy - each.confidence) for each in bins if each.rows)
    return sum(gaps) / rows if rows else float("nan")


def class_shares(labels: Labels, classes: int) -> ClassShares:
    """Compute the share of each class, ``(classes,)``, among labels ``(rows,)``."""
    shares: ClassShares = np.bincount(labels, minlength=classes) / max(len(labels), 1)
    return shares


def brier(truth: Labels, probabilities: Probabilities) -> float:
    """Compute the Brier score, the mean squared error of the probabilities.

    Of two classes it is that of the second class's probability, 0 to 1, as is usual; of more the
    sum over the classes, 0 to 2, as first defined (Brier, Monthly Weather Review 78, 1950).
    """
    one_hot = np.eye(probabilities.shape[1])[truth]  # (rows, classes)
    squares = (probabilities - one_hot) ** 2
    if probabilities.shape[1] == 2:  # noqa: PLR2004 - one determines the other
        return float(squares[:, 1].mean())
    return float(squares.sum(axis=1).mean())


def log_loss(truth: Labels, probabilities: Probabilities) -> float:
    """Compute the mean negative log probability of the true class, in nats."""
    chosen = probabilities[np.arange(len(truth)), truth]
    smallest = np.finfo(np.float32).tiny  # a probability rounded to 0 is not infinitely wrong
    return float(-np.log(np.maximum(chosen, smallest)).mean())


def roc_auc(truth: Labels, probabilities: Probabilities) -> float:
    """Compute the area under the receiver operating characteristic curve, 0 to 1.

    Of two classes that of the second, of more the mean over the classes; classes without rows, or
    with all of them, are left out. NaN when none is left.
    """
    classes = probabilities.shape[1]
    scored = range(classes) if classes > 2 else (1,)  # noqa: PLR2004 - of two, one determines the other
    curves = [roc_curve(truth == at, probabilities[:, at]) for at in scored]
    areas = [curve.area for curve in curves if curve]
    return float(np.mean(areas)) if areas else float("nan")


@torch.inference_mode()
def evaluate(model: SimpleNet, rows: EvaluationRows, *, calibrate: bool = False) -> Scores:
    """Compute loss and accuracy; rows on the CPU are sent to the model's device block by block.

    With ``calibrate`` the loss is that at the temperature where it is lowest.
    """
    labels, device = rows.labels, next(model.parameters()).device
    blocks = [
        model(block.to(device)).to(labels.device)
        for block in torch.split(rows.features, BLOCK_ROWS)
    ]
    logits = blocks[0] if len(blocks) == 1 else torch.cat(blocks)  # (rows, classes)
    return score_logits(logits, labels, calibrate=calibrate)


def score_logits(logits: torch.Tensor, labels: torch.Tensor, *, calibrate: bool) -> Scores:
    """Compute loss and accuracy from logits ``(rows, classes)`` and labels ``(rows,)``."""
    hits = (logits.argmax(dim=1) == labels).sum()
    temperature = best_temperature(logits, labels) if calibrate else 1.0
    scaled = logits / temperature if calibrate else logits
    loss = functional.cross_entropy(scaled, labels)
    return Scores(loss.item(), hits.item() / len(labels), temperature)


@torch.inference_mode()
def evaluate_test_rows(model: SimpleNet, dataset: Dataset) -> Evaluation:
    """Compute all metrics of a trained model of raw features on the test rows, on the CPU.

    Probabilities are the softmax in float64 of float32 logits.
    """
    rows = dataset.rows
    logits = [model(block) for block in torch.split(rows.test_features, BLOCK_ROWS)]
    probabilities = torch.softmax(torch.cat(logits).double(), dim=1)  # (rows, classes)
    return compute_evaluation(
        rows.test_labels.numpy(),
        probabilities.numpy(),
        dataset.schema.classes,
        shares=class_shares(rows.train_labels.numpy(), dataset.schema.n_classes),
    )
