"""SimpleNet, and the preprocessing that becomes part of it."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import torch
from torch import nn

if TYPE_CHECKING:
    from collections.abc import Sequence

FILLS = "imputation.fills"  # in a network's state dict


class SimpleNet(nn.Module):
    """A chain of Linear layers with ReLU between them.

    Attributes:
        imputation: fills missing features before the first layer; None if training had none.
        encoding: appends encoded numbers after it; None without bins.
    """

    imputation: nn.Module | None
    encoding: nn.Module | None

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
        self.encoding = None

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Compute the logits.

        Args:
            features: ``(batch, n_features)`` float32.

        Returns:
            Logits, ``(batch, n_classes)`` float32.
        """
        inputs = features if self.imputation is None else self.imputation(features)
        inputs = inputs if self.encoding is None else self.encoding(inputs)
        logits: torch.Tensor = self.layers(inputs)  # (batch, n_classes)
        return logits

    def linear_layers(self) -> list[nn.Linear]:
        """List the Linear layers, from input to output."""
        return [layer for layer in self.layers if isinstance(layer, nn.Linear)]


class Imputation(nn.Module):
    """Replaces missing inputs by constants and appends indicators; rounds nothing.

    Only inputs declared as gaps are filled: a NaN elsewhere stays NaN.
    """

    fills: torch.Tensor
    gaps: torch.Tensor
    places: torch.Tensor

    def __init__(self, fills: torch.Tensor, places: Sequence[int]) -> None:
        """Store the constants ``(n_inputs,)`` and the ascending positions of inputs with gaps."""
        super().__init__()
        gaps = torch.zeros(len(fills), dtype=torch.bool)
        gaps[list(places)] = True
        self.register_buffer("fills", torch.where(gaps, fills, 0.0))
        # The schema declares the gaps: a run need not store them again.
        self.register_buffer("gaps", gaps, persistent=False)
        self.register_buffer("places", torch.tensor(places, dtype=torch.int64), persistent=False)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Fill missing inputs and append an indicator column of 0 and 1 for each gap."""
        missing = torch.logical_and(torch.isnan(inputs), self.gaps)  # (batch, n_inputs)
        filled = torch.where(missing, self.fills, inputs)  # (batch, n_inputs)
        indicators = torch.index_select(missing, 1, self.places).to(
            torch.float32
        )  # (batch, n_gaps)
        return torch.cat([filled, indicators], dim=1)  # (batch, n_inputs + n_gaps)


@dataclass(frozen=True)
class Standardisation:
    """The parameters of ``(x - mean) / std``.

    Attributes:
        mean: ``(n_features,)`` float64.
        std: ``(n_features,)`` float64; infinite for a column without influence.
    """

    mean: torch.Tensor
    std: torch.Tensor

    def apply(self, features: torch.Tensor) -> torch.Tensor:
        """Standardise ``(rows, n_features)`` float32 in float64, rounded once."""
        return ((features.double() - self.mean) / self.std).float()

    def apply_in_place(self, features: torch.Tensor, buffer: torch.Tensor) -> None:
        """Standardise to the same bits; ``buffer`` is float64, of the features' shape."""
        torch.sub(features, self.mean, out=buffer)
        features.copy_(buffer.div_(self.std))


def prepend_stages(
    model: SimpleNet, imputation: nn.Module | None, encoding: nn.Module | None
) -> SimpleNet:
    """Make a model of raw features from one trained on preprocessed ones; layers are shared."""
    if imputation is None and encoding is None:
        return model
    with torch.device("meta"):  # no memory and no random draws for layers that are replaced
        whole = SimpleNet(1, 1)
    whole.layers = model.layers
    del whole.imputation, whole.encoding
    whole.imputation, whole.encoding = imputation, encoding
    return whole.train(model.training)


def fold_standardisation(model: SimpleNet, mean: torch.Tensor, std: torch.Tensor) -> SimpleNet:
    """Make a model of raw features from one trained on standardised features.

    ``W (x - mean) / std + b`` is ``V x + (b - V mean)`` with ``V = W / std``: computed in
    float64, rounded once.
    """
    folded = copy.deepcopy(model)
    fold_in_place(folded, mean, std)
    return folded


def fold_in_place(model: SimpleNet, mean: torch.Tensor, std: torch.Tensor) -> None:
    """Fold a standardisation, ``(n_features,)`` float64 each, into the model's first layer."""
    first = model.linear_layers()[0]
    with torch.no_grad():
        weight = first.weight.double() / std.to(first.weight.device)  # (out, n_features)
        bias = first.bias.double() - weight @ mean.to(first.weight.device)  # (out,)
        first.weight.copy_(weight)
        first.bias.copy_(bias)


def divide_logits(model: SimpleNet, temperature: float) -> None:
    """Divide the model's logits, in place: its last layer in float64, rounded once."""
    last = model.linear_layers()[-1]
    with torch.no_grad():
        last.weight.copy_(last.weight.double() / temperature)
        last.bias.copy_(last.bias.double() / temperature)
