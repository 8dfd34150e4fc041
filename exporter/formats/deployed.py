"""The deployed model: raw features in; label, probabilities and logits out.

TorchScript and ``torch.export`` store the path of this class: moving it changes the bundle's bytes.
"""

from __future__ import annotations

import torch
from torch import nn


class Deployed(nn.Module):
    """A classifier with the outputs of the model contract."""

    def __init__(self, model: nn.Module) -> None:
        """Wrap a model from ``(batch, n_features)`` to logits ``(batch, classes)``, float32."""
        super().__init__()
        self.model = model

    def forward(self, features: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Return label ``(batch,)``, probabilities and logits ``(batch, classes)``."""
        logits = self.model(features)  # (batch, classes)
        return logits.argmax(dim=1), torch.softmax(logits, dim=1), logits
