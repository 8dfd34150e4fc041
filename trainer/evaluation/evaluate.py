"""Run a network on rows and compute its scores."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch.nn import functional

from trainer.evaluation.metrics import Evaluation, Scores, compute_evaluation

if TYPE_CHECKING:
    from trainer.data.dataset import Dataset
    from trainer.data.training_data import EvaluationRows
    from trainer.model import SimpleNet

_ROWS_AT_ONCE = 8192  # their hidden layer stays in the cache, and small beside a large table


@torch.inference_mode()
def evaluate(model: SimpleNet, rows: EvaluationRows) -> Scores:
    """Compute loss and accuracy; rows on the CPU are sent to the model's device block by block."""
    labels, device = rows.labels, next(model.parameters()).device
    blocks = [
        model(block.to(device)).to(labels.device)
        for block in torch.split(rows.features, _ROWS_AT_ONCE)
    ]
    logits = blocks[0] if len(blocks) == 1 else torch.cat(blocks)  # (rows, classes)
    hits = (logits.argmax(dim=1) == labels).sum()
    loss = functional.cross_entropy(logits, labels)
    return Scores(loss.item(), hits.item() / len(labels))


@torch.inference_mode()
def evaluate_test_rows(model: SimpleNet, dataset: Dataset) -> Evaluation:
    """Compute all metrics of a trained model of raw features on the test rows, on the CPU.

    Probabilities are the softmax in float64 of float32 logits.
    """
    rows = dataset.rows
    logits = [model(block) for block in torch.split(rows.test_features, _ROWS_AT_ONCE)]
    probabilities = torch.softmax(torch.cat(logits).double(), dim=1)  # (rows, classes)
    return compute_evaluation(
        rows.test_labels.numpy(),
        probabilities.numpy(),
        dataset.schema.classes,
        majority=int(torch.bincount(rows.train_labels).argmax()),
    )
