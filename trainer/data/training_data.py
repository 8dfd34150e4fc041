"""The rows of a training run: their splits, statistics and placement in device memory.

Streamed and resident rows give the same bits: a step always finds its rows on the device.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import torch

from trainer.data.preprocessing import (
    check_spread,
    compute_class_weights,
    fit_standardisation,
    indicator_inputs,
)
from trainer.data.splits import split_folds, split_validation
from trainer.ensemble import create_membership

if TYPE_CHECKING:
    from trainer.config import Configuration, DeviceName
    from trainer.data.dataset import Dataset, Rows
    from trainer.ensemble import Membership
    from trainer.model import Standardisation

_USABLE: Final = 0.8  # of the free memory: the rest is for libraries, buffers and graphs
_GIB: Final = 2**30
_MIN_SAMPLE, _MAX_SAMPLE = 256, 4096  # rows, an eighth of them otherwise


@dataclass(frozen=True)
class EvaluationRows:
    """Raw rows to evaluate on, on the training device or on the CPU.

    Attributes:
        features: ``(rows, n_features)`` float32.
        labels: ``(rows,)`` int64.
    """

    features: torch.Tensor
    labels: torch.Tensor


@dataclass(frozen=True)
class TrainingData:
    """Rows and the statistics of the training rows.

    Attributes:
        features: of training and validation rows, raw, on the CPU.
        labels: likewise.
        train: positions of the training rows in them; None is all of them.
        folds: of each row, ``(rows,)`` int16; None without folds.
        membership: of an ensemble; None for a single network.
        validation: rows that select the best epoch; None without them.
        test: rows that every epoch is evaluated on.
        sample: some of the training rows, evaluated in a few epochs.
        scale: standardises features; None leaves them raw.
        class_weights: ``(classes,)`` float32 on the training device; None weights all equally.
    """

    features: torch.Tensor
    labels: torch.Tensor
    train: torch.Tensor | None
    folds: torch.Tensor | None
    membership: Membership | None
    validation: EvaluationRows | None
    test: EvaluationRows
    sample: EvaluationRows
    scale: Standardisation | None
    class_weights: torch.Tensor | None

    @property
    def n_rows(self) -> int:
        """Number of training rows."""
        return len(self.labels if self.train is None else self.train)

    @property
    def strata(self) -> torch.Tensor:
        """Strata of an ensemble's rows, see ``trainer.ensemble``; without folds the labels."""
        if self.folds is None or self.membership is None:
            return self.labels
        return self.folds.long().mul_(self.membership.classes).add_(self.labels)


def prepare_training_data(
    dataset: Dataset,
    configuration: Configuration,
    device: DeviceName,
    *,
    evaluation_device: DeviceName | None = None,
) -> TrainingData:
    """Split off the validation rows, or draw the folds, and compute statistics of training rows.

    Only rows to evaluate on are copied; they go to ``evaluation_device``, by default ``device``.
    """
    rows, train, held_out = dataset.rows, None, None
    labels, evaluation_device = rows.train_labels, evaluation_device or device
    if configuration.validation:
        split = split_validation(labels, configuration.validation, configuration.seed)
        train, labels, at = split.train, labels[split.train], split.validation
        held_out = _move(rows.train_features[at], rows.train_labels[at], evaluation_device)
    folds = None
    if configuration.folds:
        folds = split_folds(labels, configuration.folds, configuration.seed)
    n_classes = dataset.schema.n_classes
    weights = compute_class_weights(labels, n_classes, configuration.class_weights)
    weights = None if weights is None else weights.to(device)
    membership = None
    if configuration.members > 1:
        by_class = torch.ones(n_classes, device=device) if weights is None else weights
        membership = create_membership(configuration.members, configuration.folds, by_class)
    scale = None
    if configuration.standardise:
        indicators = indicator_inputs(dataset.schema)
        scale = fit_standardisation(rows.train_features, train, indicators)
        check_spread(scale, dataset.schema)
    return TrainingData(
        features=rows.train_features,
        labels=rows.train_labels,
        train=train,
        folds=folds,
        membership=membership,
        validation=held_out,
        test=_move(rows.test_features, rows.test_labels, evaluation_device),
        sample=_move(*_sample(rows, train), evaluation_device),
        scale=scale,
        class_weights=weights,
    )


def _sample(rows: Rows, train: torch.Tensor | None) -> tuple[torch.Tensor, torch.Tensor]:
    """Take training rows at equal distances: a table may be sorted."""
    count = len(rows.train_labels if train is None else train)
    step = max(1, count // min(max(count // 8, _MIN_SAMPLE), _MAX_SAMPLE))
    at = slice(None, None, step) if train is None else train[::step]
    return rows.train_features[at], rows.train_labels[at]


def _move(features: torch.Tensor, labels: torch.Tensor, device: DeviceName) -> EvaluationRows:
    return EvaluationRows(features.to(device), labels.to(device))


@dataclass(frozen=True)
class Placement:
    """Which rows stay in device memory for the whole run; the others are streamed to it.

    Attributes:
        training: whether the training rows do.
        evaluation: whether the test and validation rows do.
        reason: why some are streamed, as text; empty if none are.
    """

    training: bool = True
    evaluation: bool = True
    reason: str = ""


def place_dataset(dataset: Dataset, device: DeviceName, validation: float = 0.0) -> Placement:
    """Place rows by the device memory that is free now; ``validation`` is their share."""
    if device == "cpu":
        return Placement()
    training, test = _sizes(dataset.rows)
    return place_rows(training, test + int(training * validation), free_memory())


def place_rows(training: int, evaluation: int, free: int) -> Placement:
    """Place rows by size in bytes: all on the device, else those to evaluate on, else none."""
    room = int(free * _USABLE)
    if training + evaluation <= room:
        return Placement()
    streamed = training + evaluation if evaluation > room // 2 else training
    reason = f"streaming {_gib(streamed)} of rows, {_gib(free)} of its memory are free"
    return Placement(training=False, evaluation=evaluation <= room // 2, reason=reason)


def free_memory() -> int:
    """Query the free memory of the current CUDA device, in bytes."""
    free, _ = torch.cuda.mem_get_info()
    return free + torch.cuda.memory_reserved() - torch.cuda.memory_allocated()


def _sizes(rows: Rows) -> tuple[int, int]:
    """Compute the sizes of the training and of the test rows, in bytes."""
    training, test = (
        sum(part.numel() * part.element_size() for part in parts)
        for parts in (
            (rows.train_features, rows.train_labels),
            (rows.test_features, rows.test_labels),
        )
    )
    return training, test


def _gib(size: int) -> str:
    return f"{size / _GIB:.3g} GiB"
