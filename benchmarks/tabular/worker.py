"""A process that fits one contender after another: a job a line in, a result a line out."""

from __future__ import annotations

import json
import os
import sys
import time
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

READY = "ready"  # the first line out: importing is not fitting
SMALLEST = 1e-7  # a probability below it counts as this in the log loss


@dataclass(frozen=True)
class Job:
    """One fit: paths of CSV files, the column to predict, and who fits.

    Attributes:
        categories: columns that are declared, see ``PublicTable``.
    """

    train: str
    test: str
    label: str
    seed: int
    contender: str
    categories: tuple[str, ...] = ()


@dataclass(frozen=True)
class Prediction:
    """What a contender says of the test rows.

    Attributes:
        probabilities: ``(rows, classes)`` float.
        labels: ``(rows,)`` int, the true classes.
        refused: test rows without a prediction, not among those.
        wall: seconds of the fit, from the table in memory or on disk to the fitted model.
        cpu: seconds of one processor.
    """

    probabilities: Any
    labels: Any
    refused: int
    wall: float
    cpu: float


class Stopwatch:
    """Wall and CPU seconds of what stands in its ``with``."""

    def __enter__(self) -> Self:
        self._started = time.perf_counter(), time.process_time()
        return self

    def __exit__(self, *_: object) -> None:
        self.wall = time.perf_counter() - self._started[0]
        self.cpu = time.process_time() - self._started[1]


def serve(fit: Callable[[Job], Prediction]) -> None:
    """Answer jobs until standard input ends; whatever libraries print goes to stderr."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    print(READY, file=answers, flush=True)
    for line in sys.stdin:
        try:
            result: Mapping[str, object] = score(fit(Job(**json.loads(line))))
        except Exception as exc:  # noqa: BLE001 - a contender that fails is a result, with its reason
            result = {"error": f"{type(exc).__name__}: {exc}"[:500]}
        answers.write(f"{json.dumps(result)}\n")
        answers.flush()


def score(prediction: Prediction) -> dict[str, float]:
    """Score a prediction; a refused row counts as wrong, and as guessed."""
    rows, classes = prediction.probabilities.shape
    every = rows + prediction.refused
    told = prediction.probabilities[np.arange(rows), prediction.labels]
    hits = prediction.probabilities.argmax(axis=1) == prediction.labels
    losses = -np.log(np.clip(told.astype(np.float64), SMALLEST, 1.0))
    result = asdict(prediction)
    return {
        "accuracy": float(hits.sum() / every),
        "log_loss": float((losses.sum() + prediction.refused * np.log(classes)) / every),
        **{name: result[name] for name in ("refused", "wall", "cpu")},
    }
