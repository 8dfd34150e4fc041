"""What gradient descent changes: parameters and an optimiser's moments, each in one vector.

One vector lets an update touch all parameters at once. In: a network. Out: a ``State`` whose
network reads its parameters from the vector. No errors of ours.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from trainer.config import Optimiser
    from trainer.model import SimpleNet

ALIGNMENT = 16  # floats: products may be summed in another order where an operand starts oddly
_MOMENTS: dict[Optimiser, tuple[str, ...]] = {
    "sgd": (),
    "adamw": ("first_moment", "second_moment"),
}


@dataclass(frozen=True)
class State:
    """A network in training; all vectors have the same layout, with gaps of zeros.

    Attributes:
        network: its parameters are views of ``values``.
        values: all parameters, ``(size,)`` float32.
        gradients: ``(size,)`` float32.
        moments: of the optimiser by name, ``(size,)`` float32 each; none for SGD.
    """

    network: SimpleNet
    values: torch.Tensor
    gradients: torch.Tensor
    moments: dict[str, torch.Tensor]

    def views(self, vector: torch.Tensor) -> dict[str, torch.Tensor]:
        """Cut a vector into tensors of the parameters' shapes.

        Args:
            vector: ``(size,)`` of this layout.

        Returns:
            Views by the parameters' names.
        """
        parts, offset = {}, 0
        for name, parameter in self.network.named_parameters():
            parts[name] = vector[offset : offset + parameter.numel()].view(parameter.shape)
            offset += _padded(parameter.numel())
        return parts

    def tensors(self) -> dict[str, torch.Tensor]:
        """All that must be stored to go on: views by name, moments as ``first_moment/...``."""
        stored = self.views(self.values)
        for moment, vector in self.moments.items():
            stored |= {f"{moment}/{name}": part for name, part in self.views(vector).items()}
        return stored

    def restore(self, stored: dict[str, torch.Tensor]) -> None:
        """Take up what ``tensors`` gave; names and shapes must be the same."""
        for name, part in self.tensors().items():
            part.copy_(stored[name])


def lay_out(network: SimpleNet, optimiser: Optimiser) -> State:
    """Move a network's parameters into one vector, and make the optimiser's vectors.

    Args:
        network: on its device; from now on it reads its parameters from the vector.
        optimiser: says which moments there are.

    Returns:
        The state before the first step.
    """
    parameters = dict(network.named_parameters())
    size = sum(_padded(parameter.numel()) for parameter in parameters.values())
    device = next(iter(parameters.values())).device
    values, gradients, *moments = (
        torch.zeros(size, device=device) for _ in range(2 + len(_MOMENTS[optimiser]))
    )
    state = State(network, values, gradients, dict(zip(_MOMENTS[optimiser], moments, strict=True)))
    for name, view in state.views(values).items():
        view.copy_(parameters[name].detach())
        parameters[name].data = view
    return state


def _padded(numbers: int) -> int:
    return -(-numbers // ALIGNMENT) * ALIGNMENT
