"""What a fit needs of its rows, found out before the first step.

In: a dataset and a configuration. Out: a ``Prepared``. Raises ``DataError`` when no row is left
to learn from. No row is copied but those that epochs are judged by.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from trainer.balance import weigh_classes
from trainer.held_out import hold_out
from trainer.standardise import Standardisation, measure

if TYPE_CHECKING:
    import torch

    from trainer.config import Configuration, DeviceName
    from trainer.data import Dataset


@dataclass(frozen=True)
class Part:
    """Rows to judge by, raw, on the fit's device, or on the CPU where they are too many for it.

    Attributes:
        features: ``(rows, n_features)`` float32.
        labels: ``(rows,)`` int64.
    """

    features: torch.Tensor
    labels: torch.Tensor


@dataclass(frozen=True)
class Prepared:
    """Rows and what was found out about them.

    Attributes:
        features: of all training rows, raw, on the CPU.
        labels: likewise.
        learned: positions of the rows to learn from; None is all of them.
        held: rows that choose the best epoch; None where there are none.
        test: rows that judge every epoch and choose nothing.
        scale: standardises features; None leaves them raw.
        class_weights: ``(classes,)`` float32 on the fit's device; None weighs all the same.
    """

    features: torch.Tensor
    labels: torch.Tensor
    learned: torch.Tensor | None
    held: Part | None
    test: Part
    scale: Standardisation | None
    class_weights: torch.Tensor | None

    @property
    def n_rows(self) -> int:
        """How many rows there are to learn from."""
        return len(self.labels if self.learned is None else self.learned)


def prepare(
    dataset: Dataset,
    configuration: Configuration,
    device: DeviceName,
    *,
    judging: DeviceName | None = None,
) -> Prepared:
    """Find out what a fit needs.

    Args:
        dataset: rows on the CPU.
        configuration: the options.
        device: of the fit.
        judging: where the rows to judge by go; None is the device.

    Returns:
        Rows, and what was found out about those to learn from alone.

    Raises:
        DataError: when rows are held out and none is left to learn from.
    """
    rows, learned, held = dataset.rows, None, None
    labels, judging = rows.train_labels, judging or device
    if configuration.validation:
        parts = hold_out(labels, configuration.validation, configuration.seed)
        learned, labels = parts.learned, labels[parts.learned]
        held = _move(rows.train_features[parts.held], rows.train_labels[parts.held], judging)
    weights = weigh_classes(labels, dataset.schema.n_classes, configuration.class_weights)
    return Prepared(
        features=rows.train_features,
        labels=rows.train_labels,
        learned=learned,
        held=held,
        test=_move(rows.test_features, rows.test_labels, judging),
        scale=measure(rows.train_features, learned) if configuration.standardise else None,
        class_weights=None if weights is None else weights.to(device),
    )


def _move(features: torch.Tensor, labels: torch.Tensor, device: DeviceName) -> Part:
    return Part(features.to(device), labels.to(device))
