"""An ensemble: equal networks that are trained side by side and deployed as one SimpleNet.

All members see the same batches. With folds, each leaves a part of the training rows out of its
loss; these rows then tell how well it predicts rows that it has not seen. A row's *stratum* is
``fold * classes + class``: it has all that a member's loss needs to know of the row but the
features. The deployed network's logits are the mean of the members'.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import nn

if TYPE_CHECKING:
    from collections.abc import Sequence

    from trainer.model import SimpleNet, Standardisation

_SMALLEST = torch.finfo(torch.float32).tiny


class MemberLinear(nn.Module):
    """A Linear layer of every member.

    Attributes:
        weight: ``(members, outputs, inputs)``.
        bias: ``(members, outputs, 1)``.
    """

    weight: nn.Parameter
    bias: nn.Parameter

    def __init__(self, layers: Sequence[nn.Linear]) -> None:
        """Copy the members' layers."""
        super().__init__()
        self.weight = nn.Parameter(torch.stack([layer.weight.detach() for layer in layers]))
        self.bias = nn.Parameter(torch.stack([layer.bias.detach() for layer in layers])[:, :, None])

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Map ``(members, inputs, batch)``, or ``(inputs, batch)`` shared by all members."""
        if inputs.dim() == 3:  # noqa: PLR2004 - each member has its own
            return torch.baddbmm(self.bias, self.weight, inputs)
        # One product for all members is faster than one for each.
        outputs = torch.addmm(self.bias.flatten(0, 1), self.weight.flatten(0, 1), inputs)
        return outputs.view(*self.weight.shape[:2], -1)  # (members, outputs, batch)


class Ensemble(nn.Module):
    """Equal networks; batches are the last dimension of their activations, which is fastest."""

    def __init__(self, members: Sequence[SimpleNet]) -> None:
        """Copy the members' parameters."""
        super().__init__()
        layers = zip(*(member.linear_layers() for member in members), strict=True)
        self.layers = nn.ModuleList(map(MemberLinear, layers))

    @property
    def members(self) -> int:
        """Number of members."""
        return len(self.linear_layers()[0].weight)

    def linear_layers(self) -> list[MemberLinear]:
        """List the layers, from input to output."""
        return [layer for layer in self.layers if isinstance(layer, MemberLinear)]

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Compute the logits of all members.

        Args:
            features: ``(batch, n_features)`` float32.

        Returns:
            Logits, ``(members, n_classes, batch)`` float32.
        """
        first, *others = self.linear_layers()
        outputs: torch.Tensor = first(features.t())
        for layer in others:
            outputs = layer(torch.relu(outputs))
        return outputs

    def member_logits(self, member: int, features: torch.Tensor) -> torch.Tensor:
        """Compute the logits of one member, ``(batch, n_classes)``."""
        first, *others = self.linear_layers()
        outputs = torch.addmm(first.bias[member], first.weight[member], features.t())
        for layer in others:
            outputs = torch.addmm(layer.bias[member], layer.weight[member], torch.relu(outputs))
        return outputs.t()


def deployed_widths(hidden: tuple[int, ...], members: int) -> tuple[int, ...]:
    """Return the hidden widths of the network that an ensemble is deployed as."""
    return tuple(width * members for width in hidden)


def deploy(
    ensemble: Ensemble,
    target: SimpleNet,
    scale: Standardisation | None = None,
    temperature: float = 1.0,
) -> None:
    """Write an ensemble's parameters into the network that computes the mean of its logits.

    A hidden layer has the units of all members, so the layers after the first are block-diagonal,
    and the last has the blocks beside each other, divided by the number of members and the
    temperature. The standardisation is folded into the first layer. All is computed in float64
    and rounded once.
    """
    layers = ensemble.linear_layers()
    for position, (layer, linear) in enumerate(zip(layers, target.linear_layers(), strict=True)):
        weight, bias = layer.weight.detach().double(), layer.bias.detach().double()[:, :, 0]
        if position == 0:
            weight = weight.flatten(0, 1)  # (members * outputs, inputs)
        elif position == len(layers) - 1:
            weight = weight.transpose(0, 1).flatten(1)  # (outputs, members * inputs)
        else:
            weight = torch.block_diag(*weight)  # type: ignore[no-untyped-call]
        if position == 0 and scale:
            weight = weight / scale.std.to(weight.device)
            bias = bias.flatten() - weight @ scale.mean.to(weight.device)
        if position == len(layers) - 1:
            members = ensemble.members
            if position == 0:  # no hidden layer
                weight = weight.view(members, -1, weight.shape[1]).sum(dim=0)
            divisor = members * temperature
            weight, bias = weight / divisor, bias.view(members, -1).sum(dim=0) / divisor
        with torch.no_grad():
            linear.weight.copy_(weight)
            linear.bias.copy_(bias.flatten())


@dataclass(frozen=True)
class Membership:
    """How much rows count in the losses of an ensemble's members.

    Attributes:
        weights: of a row's loss by its stratum, ``(members, strata)`` float32.
        classes: number of classes.
    """

    weights: torch.Tensor
    classes: int

    @property
    def members(self) -> int:
        """Number of members."""
        return len(self.weights)

    def targets(self, strata: torch.Tensor) -> torch.Tensor:
        """Return the class of each row for each member, ``(steps, members, batch, 1)``.

        ``strata`` are ``(steps, batch)`` int64.
        """
        classes = (strata % self.classes)[:, None, :, None]
        return classes.expand(-1, self.members, -1, 1)

    def shares(self, strata: torch.Tensor) -> torch.Tensor:
        """Return the share of each row in each member's mean loss, ``(steps, members, batch, 1)``.

        They are those of ``torch.nn.functional.cross_entropy`` with class weights, over the rows
        that count; all are 0 where no row of the batch counts.
        """
        weights = self.weights[:, strata].transpose(0, 1).contiguous()  # (steps, members, batch)
        return (weights / weights.sum(dim=2, keepdim=True).clamp_min(_SMALLEST))[..., None]


def create_membership(members: int, folds: int, by_class: torch.Tensor) -> Membership:
    """Let member ``j`` leave out fold ``j % folds``; with no folds all rows count for all.

    ``by_class`` are the weights of a row by its class, ``(classes,)`` float32, which determine the
    device.
    """
    classes = len(by_class)
    if folds == 0:
        return Membership(by_class.repeat(members, 1), classes)
    left_out = torch.arange(members)[:, None] % folds == torch.arange(folds)  # (members, folds)
    counts = (~left_out).float().to(by_class.device)
    return Membership((counts[:, :, None] * by_class).flatten(1), classes)
