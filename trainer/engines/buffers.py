"""Where a step writes what it computes: made once, used by every step of the same batch size.

In: a state. Out: tensors in the order in which ``trainer.engines.step`` takes them. No errors.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from trainer.engines.state import State


class Buffers:
    """Where the steps of one batch size write what they compute."""

    def __init__(self, state: State, size: int, *, seated: bool = False) -> None:
        """Make the buffers.

        Args:
            state: gives parameters and gradients.
            size: rows a batch.
            seated: whether a batch's features must be copied to where a new tensor would begin.
        """
        device = state.values.device
        values, gradients = (
            state.views(untracked(vector)) for vector in (state.values, state.gradients)
        )
        names = list(values)
        self.layers: list[list[torch.Tensor]] = []
        for name_of_weight, name_of_bias in zip(names[::2], names[1::2], strict=True):
            weight, bias = values[name_of_weight], values[name_of_bias]
            out, delta = (torch.empty(size, len(bias), device=device) for _ in range(2))
            slopes = [gradients[name_of_weight], gradients[name_of_bias]]
            self.layers.append([weight, weight.t(), bias, *slopes, out, delta, delta.t()])
        logs, slopes_of_logs = (torch.empty_like(self.layers[-1][5]) for _ in range(2))
        weight_sum, one = torch.zeros((), device=device), torch.ones((), device=device)
        n_features = self.layers[0][0].shape[1]
        seat = torch.empty(size if seated else 0, n_features, device=device)
        self.heads = [logs, slopes_of_logs, weight_sum, one, seat]


@torch.inference_mode()
def untracked(tensor: torch.Tensor) -> torch.Tensor:
    """Give a tensor of the same memory that no version is kept of: a call on it costs less.

    Args:
        tensor: without gradients.

    Returns:
        The tensor; one on a device as it is.
    """
    return tensor if tensor.is_cuda else torch.from_numpy(tensor.numpy())


def vectors_of(state: State) -> list[torch.Tensor]:
    """List what an update changes.

    Args:
        state: with or without moments.

    Returns:
        Parameters and gradients; with moments also these, and a scratch vector.
    """
    vectors = [state.values, state.gradients, *state.moments.values()]
    if state.moments:
        vectors.append(torch.zeros_like(state.values))
    return [untracked(vector) for vector in vectors]
