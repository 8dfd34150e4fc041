"""``metrics.jsonl``: one JSON object per epoch, epochs counted from 1."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from trainer.checkpoint.state import Epoch
    from trainer.loggers.files import LogFile


class JsonlLogger:
    """Writes the metrics of every epoch; the same fit writes the same bytes."""

    def __init__(self, file: LogFile) -> None:
        """Append to an open file."""
        self._file = file

    def log_epoch(self, epoch: Epoch) -> None:
        """Append one line."""
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
        self._file.append(msgspec.json.encode(line) + b"\n")
