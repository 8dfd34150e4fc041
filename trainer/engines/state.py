"""The engine protocol, the parameters of a training task, and the memory layout of the model.

Parameters lie in one vector, so that an update touches all of them at once.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import torch

if TYPE_CHECKING:
    from collections.abc import Sequence

    from trainer.config import Optimiser
    from trainer.ensemble import Ensemble, Membership
    from trainer.model import SimpleNet

ALIGNMENT = 16  # floats: a product may sum in another order when an operand is not aligned
_MOMENTS: dict[Optimiser, tuple[str, ...]] = {
    "sgd": (),
    "adamw": ("first_moment", "second_moment"),
}


@dataclass(frozen=True)
class TrainingTask:
    """The parameters that all steps share.

    Attributes:
        batch_size: rows per step.
        rows_per_call: rows per call of the engine, whole batches.
        weight_decay: of SGD or AdamW.
        class_weights: ``(classes,)`` float32; None weights all classes equally.
        membership: of an ensemble, how much rows count, class weights included: the labels of its
            rows are their strata; None trains a single network.
    """

    batch_size: int
    rows_per_call: int
    weight_decay: float
    class_weights: torch.Tensor | None
    membership: Membership | None = None


class Engine(Protocol):
    """Runs steps of gradient descent and updates its state in place."""

    def run(
        self,
        order: torch.Tensor,
        losses: torch.Tensor,
        *,
        learning_rates: Sequence[float],
        done: int,
    ) -> None:
        """Run a step for each batch of rows.

        Args:
            order: positions of rows, ``(rows,)`` int32 or int64 on the CPU; only the last batch
                may be short.
            losses: receives the mean loss of each batch before its step, of an ensemble the mean
                over its members, ``(steps,)`` float32 on the engine's device.
            learning_rates: of each step.
            done: steps completed before these.
        """


@dataclass(frozen=True)
class ModelState:
    """A network in training; all vectors have the same layout, padded with zeros.

    Attributes:
        network: its parameters are views of ``values``.
        values: all parameters, ``(size,)`` float32.
        gradients: ``(size,)`` float32.
        moments: of the optimiser by name, ``(size,)`` float32 each; none for SGD.
    """

    network: SimpleNet | Ensemble
    values: torch.Tensor
    gradients: torch.Tensor
    moments: dict[str, torch.Tensor]

    def views(self, vector: torch.Tensor) -> dict[str, torch.Tensor]:
        """View a vector of this layout as the parameters, by name."""
        parts, offset = {}, 0
        for name, parameter in self.network.named_parameters():
            parts[name] = vector[offset : offset + parameter.numel()].view(parameter.shape)
            offset += padded(parameter.numel())
        return parts

    def tensors(self) -> dict[str, torch.Tensor]:
        """View all that a checkpoint stores, by name; moments are ``first_moment/...``."""
        stored = self.views(self.values)
        for moment, vector in self.moments.items():
            stored |= {f"{moment}/{name}": part for name, part in self.views(vector).items()}
        return stored

    def restore(self, stored: dict[str, torch.Tensor]) -> None:
        """Copy the tensors of a checkpoint into the state."""
        for name, part in self.tensors().items():
            part.copy_(stored[name])


def flatten_parameters(network: SimpleNet | Ensemble, optimiser: Optimiser) -> ModelState:
    """Move a network's parameters into one vector and allocate gradients and moments.

    The network's parameters become views of that vector.
    """
    parameters = dict(network.named_parameters())
    size = sum(padded(parameter.numel()) for parameter in parameters.values())
    device = next(iter(parameters.values())).device
    values, gradients, *moments = (
        torch.zeros(size, device=device) for _ in range(2 + len(_MOMENTS[optimiser]))
    )
    named_moments = dict(zip(_MOMENTS[optimiser], moments, strict=True))
    state = ModelState(network, values, gradients, named_moments)
    for name, view in state.views(values).items():
        view.copy_(parameters[name].detach())
        parameters[name].data = view
    return state


def padded(numbers: int) -> int:
    """Round up to whole ``ALIGNMENT``."""
    return -(-numbers // ALIGNMENT) * ALIGNMENT


class StepBuffers:
    """Buffers for the steps of one batch size, in the layout of ``trainer.engines.step``."""

    def __init__(self, state: ModelState, size: int, *, align: bool = False) -> None:
        """Allocate for ``size`` rows; ``align`` copies each batch's features to aligned memory."""
        device = state.values.device
        self.layers: list[list[torch.Tensor]] = []
        for weight, bias, *grads in _list_layers(state):
            out, delta = (torch.empty(size, len(bias), device=device) for _ in range(2))
            self.layers.append([weight, weight.t(), bias, *grads, out, delta, delta.t()])
        log_probs, log_prob_grads = (torch.empty_like(self.layers[-1][5]) for _ in range(2))
        weight_sum, one = torch.zeros((), device=device), torch.ones((), device=device)
        n_features = self.layers[0][0].shape[1]
        aligned = torch.empty(size if align else 0, n_features, device=device)
        self.loss_buffers = [log_probs, log_prob_grads, weight_sum, one, aligned]


class MemberStepBuffers:
    """Buffers of an ensemble's steps, in the layout of ``trainer.engines.member_step``."""

    def __init__(self, state: ModelState, size: int, *, align: bool = False) -> None:
        """Allocate as ``StepBuffers`` does."""
        device = state.values.device
        self.layers: list[list[torch.Tensor]] = []
        for weight, bias, *grads in _list_layers(state):
            shape = *weight.shape[:2], size
            out, delta = (torch.empty(shape, device=device) for _ in range(2))
            views = weight.transpose(1, 2), out.transpose(1, 2)
            self.layers.append([weight, views[0], bias, *grads, out, views[1], delta])
        weight, _, bias, weight_grad, bias_grad, out, _, delta = self.layers[0]
        self.first = [
            part.flatten(0, 1) for part in (weight, bias, weight_grad, bias_grad, out, delta)
        ]
        log_probs, log_prob_grads = (torch.empty_like(self.layers[-1][5]) for _ in range(2))
        row_losses = torch.empty(len(log_probs), size, 1, device=device)
        unused = torch.zeros((), device=device)
        aligned = torch.empty(size if align else 0, weight.shape[2], device=device)
        views = log_probs[..., None], log_prob_grads[..., None]
        self.loss_buffers = [log_probs, log_prob_grads, *views, row_losses, unused, aligned]


def _list_layers(state: ModelState) -> list[tuple[torch.Tensor, ...]]:
    """List weight, bias and the gradients of both, of each layer; without version tracking."""
    values, gradients = (
        list(state.views(untracked(vector)).values()) for vector in (state.values, state.gradients)
    )
    return list(zip(values[::2], values[1::2], gradients[::2], gradients[1::2], strict=True))


@torch.inference_mode()
def untracked(tensor: torch.Tensor) -> torch.Tensor:
    """Alias a CPU tensor without version tracking: calls on it cost less."""
    return tensor if tensor.is_cuda else torch.from_numpy(tensor.numpy())


def update_vectors(state: ModelState) -> list[torch.Tensor]:
    """List what an update changes: parameters and gradients; for AdamW moments and scratch."""
    vectors = [state.values, state.gradients, *state.moments.values()]
    if state.moments:
        vectors.append(torch.zeros_like(state.values))
    return [untracked(vector) for vector in vectors]
