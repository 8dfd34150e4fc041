"""An ensemble as the tutorial would train it: a network after the other, on each batch."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset
from torch.utils.tensorboard import SummaryWriter

if TYPE_CHECKING:
    from pathlib import Path

    from trainer.config import Configuration
    from trainer.data.dataset import Rows


def run_ensemble_loop(
    rows: Rows, folds: torch.Tensor, options: Configuration, batches: int, logdir: Path
) -> int:
    """Fit, an epoch cut off after some batches; a member leaves out the fold of its number.

    Args:
        rows: to learn from, and to test after every epoch.
        folds: of the training rows, ``(rows,)``.
        options: widths, members, batch size, epochs, learning rate and weight decay.
        batches: of an epoch, at most.
        logdir: for TensorBoard's files.

    Returns:
        How many rows were learned from.
    """
    table = TensorDataset(rows.train_features, rows.train_labels, folds)
    loader = DataLoader(table, batch_size=options.batch_size, shuffle=True)
    models = [create_network(rows, options.hidden) for _ in range(options.members)]
    optimizers = [
        torch.optim.AdamW(
            model.parameters(), lr=options.learning_rate, weight_decay=options.weight_decay
        )
        for model in models
    ]
    criterion, writer = nn.CrossEntropyLoss(), SummaryWriter(str(logdir))
    seen = step = 0
    for epoch in range(options.epochs):
        for features, labels, fold in islice(loader, batches):
            value = 0.0
            for number, (model, optimizer) in enumerate(zip(models, optimizers, strict=True)):
                kept = fold != number
                optimizer.zero_grad()
                loss = criterion(model(features[kept]), labels[kept])
                loss.backward()
                optimizer.step()
                value += loss.item() / len(models)
            writer.add_scalar("Loss/train", value, step)
            step, seen = step + 1, seen + len(labels)
        with torch.no_grad():
            logits = sum(model(rows.test_features) for model in models)
            hits = (logits.argmax(dim=1) == rows.test_labels).sum().item()
            out_of_fold = [
                nn.functional.cross_entropy(
                    model(rows.train_features[folds == number]),
                    rows.train_labels[folds == number],
                    reduction="sum",
                ).item()
                for number, model in enumerate(models)
            ]
        writer.add_scalar("Accuracy/test", hits / len(rows.test_labels), epoch)
        writer.add_scalar("Loss/validation", sum(out_of_fold) / len(folds), epoch)
    writer.close()
    return seen


def create_network(rows: Rows, hidden: tuple[int, ...]) -> nn.Sequential:
    """Create Linear layers with ReLU between them, for two classes."""
    widths = (rows.train_features.shape[1], *hidden, 2)
    layers: list[nn.Module] = []
    for position in range(len(widths) - 1):
        layers += [nn.Linear(widths[position], widths[position + 1]), nn.ReLU()]
    return nn.Sequential(*layers[:-1])
