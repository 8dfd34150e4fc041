"""The tutorial's training loop: DataLoader, autograd, torch.optim, a scalar for every batch."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset
from torch.utils.tensorboard import SummaryWriter

if TYPE_CHECKING:
    from pathlib import Path

    from trainer.data.dataset import Rows


class TutorialNet(nn.Module):
    """Two layers and a ReLU."""

    def __init__(self) -> None:
        super().__init__()
        self.fc1 = nn.Linear(2, 32)
        self.relu = nn.ReLU()
        self.fc2 = nn.Linear(32, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Compute the class scores of a batch."""
        scores: torch.Tensor = self.fc2(self.relu(self.fc1(x)))
        return scores


def run_loop(rows: Rows, batch_size: int, epochs: int, batches: int, logdir: Path | None) -> int:
    """Fit, an epoch cut off after some batches.

    Args:
        rows: to learn from, and to test after every epoch.
        batch_size: rows a step.
        epochs: passes.
        batches: of an epoch, at most.
        logdir: for TensorBoard's files; None writes none.

    Returns:
        How many rows were learned from.
    """
    loader = DataLoader(
        TensorDataset(rows.train_features, rows.train_labels), batch_size=batch_size, shuffle=True
    )
    model, criterion = TutorialNet(), nn.CrossEntropyLoss()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    writer = SummaryWriter(str(logdir)) if logdir else None
    seen = step = 0
    for epoch in range(epochs):
        for features, labels in islice(loader, batches):
            optimizer.zero_grad()
            loss = criterion(model(features), labels)
            loss.backward()
            optimizer.step()
            value = loss.item()
            if writer:
                writer.add_scalar("Loss/train", value, step)
            step, seen = step + 1, seen + len(labels)
        with torch.no_grad():
            hits = (model(rows.test_features).argmax(dim=1) == rows.test_labels).sum().item()
        if writer:
            writer.add_scalar("Accuracy/test", hits / len(rows.test_labels), epoch)
    if writer:
        writer.close()
    return seen
