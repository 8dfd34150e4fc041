"""How good a network is on rows that it does not learn from.

In: a network and rows. Out: a ``Judgement`` after an epoch, an ``Evaluation`` at the end. No
errors.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch.nn import functional

from trainer.metrics import evaluate

if TYPE_CHECKING:
    from trainer.data import Dataset
    from trainer.metrics import Evaluation
    from trainer.model import SimpleNet
    from trainer.preparation import Part

_ROWS_AT_ONCE = 8192  # their hidden layer stays in the cache, and small beside a large table


@dataclass(frozen=True)
class Judgement:
    """How good a network is on some rows.

    Attributes:
        loss: mean cross-entropy.
        accuracy: share of rows labelled correctly, 0 to 1.
    """

    loss: float
    accuracy: float


@torch.inference_mode()
def judge(model: SimpleNet, part: Part) -> Judgement:
    """Judge a network.

    Args:
        model: on any device.
        part: rows, on the same or on the CPU, from where they are sent a block at a time.

    Returns:
        Its loss and accuracy.
    """
    labels, device = part.labels, next(model.parameters()).device
    blocks = [
        model(block.to(device)).to(labels.device)
        for block in torch.split(part.features, _ROWS_AT_ONCE)
    ]
    logits = blocks[0] if len(blocks) == 1 else torch.cat(blocks)  # (rows, classes)
    hits = (logits.argmax(dim=1) == labels).sum()
    loss = functional.cross_entropy(logits, labels)
    return Judgement(loss.item(), hits.item() / len(labels))


@torch.inference_mode()
def evaluate_rows(model: SimpleNet, dataset: Dataset) -> Evaluation:
    """Say all that is to be said of a fitted network on the rows set aside.

    Args:
        model: on the CPU, takes raw features.
        dataset: its rows to learn from tell the most frequent class.

    Returns:
        The figures; probabilities are those of float32 logits, computed in float64.
    """
    rows = dataset.rows
    logits = [model(block) for block in torch.split(rows.test_features, _ROWS_AT_ONCE)]
    probabilities = torch.softmax(torch.cat(logits).double(), dim=1)  # (rows, classes)
    return evaluate(
        rows.test_labels.numpy(),
        probabilities.numpy(),
        dataset.schema.classes,
        majority=int(torch.bincount(rows.train_labels).argmax()),
    )
