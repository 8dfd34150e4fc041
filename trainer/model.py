"""SimpleNet, and folding a standardisation into its first layer.

In: float32 features. Out: logits. Nothing here reads or writes files or raises errors of ours.
"""

from __future__ import annotations

import copy
from itertools import pairwise

import torch
from torch import nn


class SimpleNet(nn.Module):
    """A chain of Linear layers with ReLU between them.

    Attributes:
        imputation: fills the gaps of the features before the first layer; None where training had
            none.
    """

    imputation: nn.Module | None

    def __init__(self, n_features: int, n_classes: int, hidden: tuple[int, ...] = (32,)) -> None:
        """Draw the initial weights from torch's global random state, as ``nn.Linear`` does.

        Args:
            n_features: width of the input.
            n_classes: width of the output.
            hidden: widths of the layers between them.
        """
        super().__init__()
        widths = (n_features, *hidden, n_classes)
        layers: list[nn.Module] = []
        for fan_in, fan_out in pairwise(widths):
            layers += [nn.Linear(fan_in, fan_out), nn.ReLU()]
        self.layers = nn.Sequential(*layers[:-1])  # no ReLU after the last layer
        self.imputation = None

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Compute the class scores before softmax.

        Args:
            features: ``(batch, n_features)`` float32.

        Returns:
            Logits, ``(batch, n_classes)`` float32.
        """
        inputs = features if self.imputation is None else self.imputation(features)
        logits: torch.Tensor = self.layers(inputs)  # (batch, n_classes)
        return logits

    def linear_layers(self) -> list[nn.Linear]:
        """The Linear layers, from input to output."""
        return [layer for layer in self.layers if isinstance(layer, nn.Linear)]


def fill_first(model: SimpleNet, imputation: nn.Module) -> SimpleNet:
    """Make a model of features with gaps out of one that was trained on filled ones.

    Args:
        model: takes what ``imputation`` gives; left as it is.
        imputation: see ``trainer.imputation``.

    Returns:
        A new model with the same layers.
    """
    with torch.device("meta"):  # no memory and no random draws for layers that are replaced
        filling = SimpleNet(1, 1)
    filling.layers = model.layers
    del filling.imputation
    filling.imputation = imputation
    return filling.train(model.training)


def fold_standardisation(model: SimpleNet, mean: torch.Tensor, std: torch.Tensor) -> SimpleNet:
    """Make a model of raw features out of one that was trained on standardised features.

    ``W (x - mean) / std + b`` is ``V x + (b - V mean)`` with ``V = W / std``: computed in
    float64, rounded once.

    Args:
        model: trained on ``(x - mean) / std``; left as it is.
        mean: ``(n_features,)`` float64.
        std: ``(n_features,)`` float64, no zeros.

    Returns:
        A new model of the same shape and dtype.
    """
    folded = copy.deepcopy(model)
    fold_in_place(folded, mean, std)
    return folded


def fold_in_place(model: SimpleNet, mean: torch.Tensor, std: torch.Tensor) -> None:
    """Do what ``fold_standardisation`` does to the model itself.

    Args:
        model: changed.
        mean: ``(n_features,)`` float64.
        std: ``(n_features,)`` float64, no zeros.
    """
    first = model.linear_layers()[0]
    with torch.no_grad():
        weight = first.weight.double() / std.to(first.weight.device)  # (out, n_features)
        bias = first.bias.double() - weight @ mean.to(first.weight.device)  # (out,)
        first.weight.copy_(weight)
        first.bias.copy_(bias)
