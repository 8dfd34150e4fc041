"""The model as it is deployed: raw features in, label, probabilities and logits out.

In: a module of class scores. Out: the module that both files of a bundle are made from. No
errors of ours.
"""

from __future__ import annotations

import torch
from torch import nn


class Deployed(nn.Module):
    """A classifier with the outputs of the model contract."""

    def __init__(self, model: nn.Module) -> None:
        """Wrap a model.

        Args:
            model: maps ``(batch, n_features)`` float32 to logits ``(batch, classes)`` float32.
        """
        super().__init__()
        self.model = model

    def forward(self, features: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Answer a batch.

        Args:
            features: ``(batch, n_features)`` float32.

        Returns:
            label ``(batch,)`` int64, the first largest logit; probabilities ``(batch, classes)``
            float32; logits ``(batch, classes)`` float32. In this order.
        """
        logits = self.model(features)  # (batch, classes)
        return logits.argmax(dim=1), torch.softmax(logits, dim=1), logits
