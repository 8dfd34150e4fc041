"""Between torch modules and the layers that bounds are derived from.

In: a SimpleNet, or the parameters of a TorchScript file. Out: layers, or a SimpleNet made from
layers. Raises ``ArtifactError`` for parameters that are no chain of Linear layers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from exporter.truth.layer import Layer
from runtime.errors import ArtifactError
from trainer.model import SimpleNet

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy as np
    import numpy.typing as npt

    from runtime.schema import Schema

_MATRIX, _VECTOR = 2, 1


def layers_of(model: SimpleNet) -> tuple[Layer, ...]:
    """Copy a model's layers, from input to output."""
    return tuple(
        Layer(_to_numpy(linear.weight), _to_numpy(linear.bias)) for linear in model.linear_layers()
    )


def layers_from_state(
    state: Mapping[str, torch.Tensor], schema: Schema, *, where: str
) -> tuple[Layer, ...]:
    """Read the layers from a module's parameters.

    Args:
        state: parameters in the order of the layers, as ``weight, bias, weight, bias, ...``.
        schema: gives the widths at both ends.
        where: path for messages.

    Returns:
        The layers, from input to output.

    Raises:
        ArtifactError: when they are not float32 Linear layers that lead from the schema's
            features to its classes.
    """
    names = list(state)
    layers = []
    width = schema.n_features
    for weight_name, bias_name in zip(names[::2], names[1::2], strict=False):
        weight, bias = state[weight_name], state[bias_name]
        if not _is_linear(weight, bias, width):
            raise _no_chain(where, f"{weight_name} and {bias_name} are no layer of {width} inputs")
        layers.append(Layer(_to_numpy(weight), _to_numpy(bias)))
        width = len(bias)
    if len(names) % 2 or not layers or width != schema.n_classes:
        raise _no_chain(where, f"{len(names)} parameters end in {width} outputs")
    return tuple(layers)


def model_of(layers: Sequence[Layer]) -> SimpleNet:
    """Build the PyTorch model of some layers, on the CPU, in evaluation mode."""
    widths = [layer.weight.shape[0] for layer in layers]
    with torch.device("meta"):  # no random draws for weights that are replaced
        model = SimpleNet(layers[0].weight.shape[1], widths[-1], tuple(widths[:-1]))
    for linear, layer in zip(model.linear_layers(), layers, strict=True):
        linear.weight = torch.nn.Parameter(torch.from_numpy(layer.weight), requires_grad=False)
        linear.bias = torch.nn.Parameter(torch.from_numpy(layer.bias), requires_grad=False)
    return model.eval()


def _is_linear(weight: torch.Tensor, bias: torch.Tensor, width: int) -> bool:
    fits = weight.dim() == _MATRIX and bias.dim() == _VECTOR and weight.dtype == torch.float32
    return fits and bias.dtype == torch.float32 and weight.shape == (len(bias), width)


def _to_numpy(tensor: torch.Tensor) -> npt.NDArray[np.float32]:
    return tensor.detach().cpu().numpy().copy()


def _no_chain(where: str, reason: str) -> ArtifactError:
    return ArtifactError(
        f"{where} holds no chain of Linear layers for this schema ({reason}); export the run again"
    )
