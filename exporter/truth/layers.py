"""Between torch modules and the layers that bounds are derived from.

In: a SimpleNet, or layers. Out: layers, or a SimpleNet made from them. No errors.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from exporter.truth.gaps import Gaps
from exporter.truth.layer import Layer
from trainer.imputation import Imputation
from trainer.model import SimpleNet, fill_first

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    import numpy.typing as npt


def layers_of(model: SimpleNet) -> tuple[Layer, ...]:
    """Copy a model's layers, from input to output."""
    return tuple(
        Layer(_to_numpy(linear.weight), _to_numpy(linear.bias)) for linear in model.linear_layers()
    )


def gaps_of(model: SimpleNet) -> Gaps | None:
    """Copy what fills gaps before a model's first layer; None where nothing does."""
    filling = model.imputation
    if not isinstance(filling, Imputation):
        return None
    return Gaps(_to_numpy(filling.fills), tuple(filling.places.tolist()))


def model_of(layers: Sequence[Layer], gaps: Gaps | None = None) -> SimpleNet:
    """Build the PyTorch model of some layers, on the CPU, in evaluation mode."""
    widths = [layer.weight.shape[0] for layer in layers]
    with torch.device("meta"):  # no random draws for weights that are replaced
        model = SimpleNet(layers[0].weight.shape[1], widths[-1], tuple(widths[:-1]))
    for linear, layer in zip(model.linear_layers(), layers, strict=True):
        linear.weight = torch.nn.Parameter(torch.from_numpy(layer.weight), requires_grad=False)
        linear.bias = torch.nn.Parameter(torch.from_numpy(layer.bias), requires_grad=False)
    if gaps is None:
        return model.eval()
    return fill_first(model, Imputation(torch.from_numpy(gaps.fills), gaps.places)).eval()


def _to_numpy(tensor: torch.Tensor) -> npt.NDArray[np.float32]:
    return tensor.detach().cpu().numpy().copy()
