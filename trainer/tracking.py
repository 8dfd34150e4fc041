"""What is written of every epoch: TensorBoard's curves and a line of JSON.

TensorBoard, with the tutorial's names and step numbers:

    Loss/train                            each batch, step = epoch * batches_per_epoch + batch
    Accuracy/test                         each epoch, step = epoch; epochs count from 0
    Loss/validation, Accuracy/validation  likewise, where rows are held out
    LearningRate/train                    likewise
    Gradient/norm                         likewise: Euclidean norm, of the epoch's last batch
    Layer N/weight, Layer N/bias          histograms, at most six times in a fit

A norm for every step would add 6 % to a step of 32 rows on a CPU; the last gradient lies
there anyway, in the vector that the steps write. SGD's has the weight decay in it.

``metrics.jsonl``: one object an epoch, which counts from 1, as people do.

In: epochs as ``fit`` reports them. Out: bytes in journals. Raises what ``Journal`` raises.
"""

from __future__ import annotations

import itertools
import math
import os
import socket
import time
from typing import TYPE_CHECKING

import msgspec
import numpy as np

from trainer.board.weights import is_time, weigh
from trainer.events import file_header, scalar_records

if TYPE_CHECKING:
    import numpy.typing as npt
    import torch

    from trainer.engines.state import State
    from trainer.epoch import Epoch
    from trainer.journal import Journal

LOSS = "Loss/train"
ACCURACY = "Accuracy/test"
_RATE = "LearningRate/train"
_GRADIENT = "Gradient/norm"
_VALIDATION = "Loss/validation", "Accuracy/validation"
_files = itertools.count()
_BEHIND_S = 0.2  # records are made for many quick epochs together


class Curves:
    """An event file; what TensorBoard shows of a fit, at most a moment behind it."""

    def __init__(self, journal: Journal) -> None:
        """Begin the file, or go on with it.

        Args:
            journal: the event file.
        """
        self._journal = journal
        self._waiting: list[Epoch] = []
        self._norms: list[float] = []  # of the epochs that wait, in the same order
        self._written = time.monotonic()
        if journal.size == 0:
            journal.append(file_header(time.time()))

    def see(self, epoch: Epoch, state: State) -> None:
        """Take up what an epoch made, before ``watch`` has the epoch."""
        self._norms.append(_norm_of(state.gradients))
        if epoch.is_last or is_time(epoch.index, epoch.epochs):
            from trainer.board.summaries import to_record

            self._journal.append(to_record(weigh(state.network), epoch.index))

    def watch(self, epoch: Epoch) -> None:
        """Take up an epoch."""
        self._waiting.append(epoch)
        if time.monotonic() - self._written >= _BEHIND_S:
            self.flush()

    def flush(self) -> None:
        """Write what is waiting."""
        epochs, self._waiting = self._waiting, []
        norms, self._norms = self._norms, []
        self._written = time.monotonic()
        if not epochs:
            return
        first, now = epochs[0], time.time()
        losses = np.concatenate([np.array(epoch.losses, np.float32) for epoch in epochs])
        curves: dict[str, tuple[int, npt.ArrayLike]] = {
            LOSS: (first.index * len(first.losses), losses),
            ACCURACY: (first.index, [epoch.accuracy for epoch in epochs]),
            _RATE: (first.index, [epoch.learning_rate for epoch in epochs]),
            _GRADIENT: (first.index, norms),
        }
        judged = [epoch.validation for epoch in epochs if epoch.validation]
        if judged:
            curves[_VALIDATION[0]] = first.index, [part.loss for part in judged]
            curves[_VALIDATION[1]] = first.index, [part.accuracy for part in judged]
        self._journal.append(
            b"".join(scalar_records(tag, *curve, now) for tag, curve in curves.items())
        )


def _norm_of(gradients: torch.Tensor) -> float:
    """Euclidean norm; on the CPU by numpy, which is asked in a tenth of the time."""
    if gradients.is_cuda:
        return float(gradients.norm().item())
    numbers: npt.NDArray[np.float32] = gradients.numpy()
    return math.sqrt(float(numbers.dot(numbers)))


class Lines:
    """``metrics.jsonl``; the same bytes for the same fit."""

    def __init__(self, journal: Journal) -> None:
        """Go on with a file.

        Args:
            journal: the file.
        """
        self._journal = journal

    def watch(self, epoch: Epoch) -> None:
        """Write an epoch."""
        line: dict[str, float] = {
            "epoch": epoch.index + 1,
            "steps": (epoch.index + 1) * len(epoch.losses),
            "learning_rate": epoch.learning_rate,
            "loss": epoch.loss,
            "test_loss": epoch.test_loss,
            "accuracy": epoch.accuracy,
        }
        if epoch.validation:
            line["validation_loss"] = epoch.validation.loss
            line["validation_accuracy"] = epoch.validation.accuracy
            line["best_epoch"] = epoch.best + 1
        self._journal.append(msgspec.json.encode(line) + b"\n")


def new_event_file() -> str:
    """Choose a name that TensorBoard takes for an event file, and that no other fit has."""
    here = f"{socket.gethostname()}.{os.getpid()}.{next(_files)}"
    return f"events.out.tfevents.{int(time.time())}.{here}"
