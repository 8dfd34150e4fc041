"""Distributions of the weights, a few times in a fit.

In: a network in training. Out: values for TensorBoard's tabs of histograms and distributions. No
errors.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from trainer.model import SimpleNet

_TIMES = 5


def is_time(index: int, epochs: int) -> bool:
    """Say whether the weights are shown after an epoch: the first, the last, three between.

    Args:
        index: of the epoch, from 0.
        epochs: how many there will be, at most.

    Returns:
        The same for the same epoch, wherever a fit is taken up.
    """
    last = epochs - 1
    return index in {last * part // (_TIMES - 1) for part in range(_TIMES)}


def weigh(network: SimpleNet) -> list[bytes]:
    """Show every parameter as it is in training, before the standardisation is folded in.

    Args:
        network: on any device.

    Returns:
        A value a parameter.
    """
    from trainer.board.summaries import histogram

    values = []
    for layer, linear in enumerate(network.linear_layers(), start=1):
        for name, parameter in linear.named_parameters():
            numbers = parameter.detach().cpu().numpy()
            values.append(histogram(f"Layer {layer}/{name}", numbers))
    return values
