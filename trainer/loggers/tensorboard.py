"""TensorBoard's curves and histograms of a fit, with the tutorial's names and step numbers.

    Loss/train                            each batch, step = epoch * batches_per_epoch + batch
    Accuracy/test                         each epoch, step = epoch; epochs count from 0
    Loss/epoch                            likewise: mean of the epoch's batches
    Loss/test                             likewise
    Accuracy/train                        likewise, of some rows, in some epochs
    Loss/validation, Accuracy/validation  likewise, with a validation split; with folds those of
                                          rows out of fold, in some epochs
    LearningRate/train                    likewise
    Gradient/norm                         likewise: L2 norm, of the epoch's last batch
    Layer N/weight, Layer N/bias          histograms, at most six times in a fit

The Custom Scalars tab has those of training and test in one chart each, for loss and accuracy.

A norm at every step would add 6 % to a step of 32 rows on a CPU; that of the last one is free:
its gradient is still in the buffer. SGD's includes the weight decay.
"""

from __future__ import annotations

import math
import os
import socket
import time
from itertools import chain, count
from typing import TYPE_CHECKING

import numpy as np

from trainer.loggers.events import (
    chart_layout,
    file_header,
    histogram,
    scalar_records,
    summary_record,
)
from trainer.schedule import evenly_spaced

if TYPE_CHECKING:
    import numpy.typing as npt
    import torch

    from trainer.checkpoint.state import Epoch
    from trainer.engines.state import ModelState
    from trainer.ensemble import Ensemble
    from trainer.loggers.events import Message
    from trainer.loggers.files import LogFile
    from trainer.model import SimpleNet

_LOSS = "Loss/train"
LOSS_EPOCH, LOSS_TEST = "Loss/epoch", "Loss/test"
ACCURACY_TEST, _ACCURACY_TRAIN = "Accuracy/test", "Accuracy/train"
_RATE = "LearningRate/train"
_GRADIENT = "Gradient/norm"
LOSS_VALIDATION, ACCURACY_VALIDATION = "Loss/validation", "Accuracy/validation"
_CHARTS = {
    "Loss": (LOSS_EPOCH, LOSS_TEST, LOSS_VALIDATION),
    "Accuracy": (_ACCURACY_TRAIN, ACCURACY_TEST, ACCURACY_VALIDATION),
}
_HISTOGRAMS = 5  # in a fit
_FLUSH_S = 0.2  # the scalars of many short epochs are written together
_file_numbers = count()


class TensorBoardLogger:
    """Writes an event file, at most ``_FLUSH_S`` behind the fit."""

    def __init__(self, file: LogFile) -> None:
        """Append to an open file; an empty one gets its header."""
        self._file = file
        self._pending: list[Epoch] = []
        self._norms: list[float] = []  # of the pending epochs
        self._gradients: torch.Tensor | None = None
        self._view: npt.NDArray[np.float32] = np.empty(0, np.float32)
        self._flushed = time.monotonic()
        if file.size == 0:
            file.append(file_header(time.time()) + summary_record([chart_layout(_CHARTS)], 0))

    def log_parameters(self, epoch: Epoch, state: ModelState) -> None:
        """Log the gradient norm, and from time to time histograms; before ``log_epoch``."""
        self._norms.append(self._norm(state.gradients))
        if epoch.is_last or epoch.index in evenly_spaced(epoch.epochs, _HISTOGRAMS):
            self._file.append(summary_record(_histograms(state.network), epoch.index))

    def _norm(self, gradients: torch.Tensor) -> float:
        """Compute the L2 norm; on the CPU with numpy, whose calls take a tenth of torch's."""
        if gradients.is_cuda:
            return float(gradients.norm().item())
        if gradients is not self._gradients:
            self._gradients, self._view = gradients, gradients.numpy()
        return math.sqrt(self._view.dot(self._view))

    def log_epoch(self, epoch: Epoch) -> None:
        """Log the scalars of an epoch."""
        self._pending.append(epoch)
        if time.monotonic() - self._flushed >= _FLUSH_S:
            self.flush()

    def flush(self) -> None:
        """Write the pending scalars."""
        epochs, self._pending = self._pending, []
        norms, self._norms = self._norms, []
        self._flushed = time.monotonic()
        if not epochs:
            return
        first, now = epochs[0], time.time()
        losses = np.fromiter(chain.from_iterable(epoch.losses for epoch in epochs), np.float32)
        curves: dict[str, tuple[int, npt.ArrayLike]] = {
            _LOSS: (first.index * len(first.losses), losses),
            LOSS_EPOCH: (first.index, [epoch.loss for epoch in epochs]),
            LOSS_TEST: (first.index, [epoch.test_loss for epoch in epochs]),
            ACCURACY_TEST: (first.index, [epoch.accuracy for epoch in epochs]),
            _RATE: (first.index, [epoch.learning_rate for epoch in epochs]),
            _GRADIENT: (first.index, norms),
        }
        validated = [epoch.validation for epoch in epochs if epoch.validation]
        if validated and not first.is_out_of_fold:
            curves[LOSS_VALIDATION] = first.index, [part.loss for part in validated]
            curves[ACCURACY_VALIDATION] = first.index, [part.accuracy for part in validated]
        records = [scalar_records(tag, *curve, now) for tag, curve in curves.items()]
        for epoch in epochs:  # that have what others do not
            points = [(_ACCURACY_TRAIN, epoch.train.accuracy)] if epoch.train else []
            if epoch.is_out_of_fold and epoch.is_validated and (scores := epoch.validation):
                points += [(LOSS_VALIDATION, scores.loss), (ACCURACY_VALIDATION, scores.accuracy)]
            records += [scalar_records(tag, epoch.index, [point], now) for tag, point in points]
        self._file.append(b"".join(records))

    def finalize(self, records: bytes) -> None:
        """Write the pending scalars and the summaries of a completed fit."""
        self.flush()
        self._file.append(records)


def new_event_file() -> str:
    """Return a file name that TensorBoard recognises and no other fit has."""
    origin = f"{socket.gethostname()}.{os.getpid()}.{next(_file_numbers)}"
    return f"events.out.tfevents.{int(time.time())}.{origin}"


def _histograms(network: SimpleNet | Ensemble) -> list[Message]:
    """Build histograms of the parameters as trained, before the standardisation is folded in."""
    return [
        histogram(f"Layer {layer}/{name}", parameter.detach().cpu().numpy())
        for layer, linear in enumerate(network.linear_layers(), start=1)
        for name, parameter in linear.named_parameters()
    ]
