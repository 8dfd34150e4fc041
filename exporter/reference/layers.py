"""Linear layers as numpy arrays, and the PyTorch model of them."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import torch

from exporter.reference.preprocessing import (
    NO_PREPROCESSING,
    Encoder,
    Imputer,
    Preprocessing,
)
from runtime.errors import ParityError
from trainer.model import Imputation, SimpleNet, prepend_stages
from trainer.piecewise import PiecewiseLinearEncoding

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    from runtime.schema.features import Float32Matrix


@dataclass(frozen=True)
class Layer:
    """One Linear layer, ``y = W x + b``."""

    weight: Float32Matrix  # (outputs, inputs)
    bias: npt.NDArray[np.float32]  # (outputs,)


def check_layers(layers: Sequence[Layer]) -> None:
    """Check that layers are finite and fit one another; ``ParityError`` otherwise."""
    if not layers:
        raise ParityError("the model has no Linear layer: nothing can be proven about it")
    for position, layer in enumerate(layers):
        values = np.concatenate([layer.weight.ravel(), layer.bias])
        if bad := int((~np.isfinite(values)).sum()):
            raise ParityError(
                f"layer {position} of the model has {bad} weights that are NaN or infinite: "
                "training diverged; fit it again with a lower learning rate"
            )
    for position, (first, second) in enumerate(pairwise(layers)):
        if first.weight.shape[0] != second.weight.shape[1]:
            raise ParityError(
                f"layer {position} of the model has {first.weight.shape[0]} outputs, the next "
                f"reads {second.weight.shape[1]}: the layers do not form a chain"
            )


def layers_of(model: SimpleNet) -> tuple[Layer, ...]:
    """Copy a model's layers, from input to output."""
    return tuple(
        Layer(copy_to_numpy(linear.weight), copy_to_numpy(linear.bias))
        for linear in model.linear_layers()
    )


def preprocessing_of(model: SimpleNet) -> Preprocessing:
    """Copy the stages before a model's first layer."""
    imputation, imputer = model.imputation, None
    if isinstance(imputation, Imputation):
        imputer = Imputer(copy_to_numpy(imputation.fills), tuple(imputation.places.tolist()))
    return Preprocessing(imputer, encoder_of(model.encoding))


def encoder_of(encoding: torch.nn.Module | None) -> Encoder | None:
    """Copy an encoding, if there is one."""
    if not isinstance(encoding, PiecewiseLinearEncoding):
        return None
    edges = (copy_to_numpy(each).ravel() for each in (encoding.lows, encoding.scales))
    return Encoder(encoding.positions.cpu().numpy().copy(), *edges)


def model_of(layers: Sequence[Layer], preprocessing: Preprocessing = NO_PREPROCESSING) -> SimpleNet:
    """Build the PyTorch model of some layers, on the CPU, in evaluation mode."""
    widths = [layer.weight.shape[0] for layer in layers]
    with torch.device("meta"):  # no random draws for weights that are replaced
        model = SimpleNet(layers[0].weight.shape[1], widths[-1], tuple(widths[:-1]))
    for linear, layer in zip(model.linear_layers(), layers, strict=True):
        linear.weight = torch.nn.Parameter(torch.from_numpy(layer.weight), requires_grad=False)
        linear.bias = torch.nn.Parameter(torch.from_numpy(layer.bias), requires_grad=False)
    imputer, encoder = preprocessing.imputer, preprocessing.encoder
    imputation = encoding = None
    if imputer:
        imputation = Imputation(torch.from_numpy(imputer.fill_values), imputer.columns)
    if encoder:
        lows, scales = (torch.from_numpy(each)[:, None] for each in (encoder.lows, encoder.scales))
        encoding = PiecewiseLinearEncoding(torch.from_numpy(encoder.positions), lows, scales)
    return prepend_stages(model, imputation, encoding).eval()


def copy_to_numpy(tensor: torch.Tensor) -> npt.NDArray[np.float32]:
    """Copy a float32 tensor to numpy."""
    return tensor.detach().cpu().numpy().copy()
