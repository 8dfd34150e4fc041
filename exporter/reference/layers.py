"""Linear layers and the imputation before them, as numpy arrays."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import torch

from runtime.errors import ParityError
from trainer.model import Imputation, SimpleNet, prepend_imputation

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import TypeVar

    import numpy.typing as npt

    from runtime.schema.features import Float32Matrix

    T = TypeVar("T")


@dataclass(frozen=True)
class Layer:
    """One Linear layer, ``y = W x + b``."""

    weight: Float32Matrix  # (outputs, inputs)
    bias: npt.NDArray[np.float32]  # (outputs,)


@dataclass(frozen=True)
class Imputer:
    """Fills missing values before the first layer.

    A choice between two numbers rounds nothing: bounds of the layers hold for imputed rows too.
    """

    fill_values: Float32Matrix  # (n_inputs,)
    columns: tuple[int, ...]  # inputs that may be missing, ascending

    def transform(self, rows: Float32Matrix) -> Float32Matrix:
        """Fill and append indicators: ``(rows, n_inputs)`` to ``(rows, n_inputs + columns)``."""
        missing = np.isnan(rows[:, self.columns])  # (rows, columns)
        filled = rows.copy()
        filled[:, self.columns] = np.where(
            missing, self.fill_values[list(self.columns)], rows[:, self.columns]
        )
        return np.concatenate([filled, missing.astype(np.float32)], axis=1)


def impute_first(
    imputer: Imputer | None, evaluate: Callable[[Float32Matrix], T]
) -> Callable[[Float32Matrix], T]:
    """Impute rows, if there is an imputer, before they are evaluated."""
    if imputer is None:
        return evaluate
    return lambda rows: evaluate(imputer.transform(rows))


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


def imputer_of(model: SimpleNet) -> Imputer | None:
    """Copy the imputation before a model's first layer, if it has one."""
    imputation = model.imputation
    if not isinstance(imputation, Imputation):
        return None
    return Imputer(copy_to_numpy(imputation.fills), tuple(imputation.places.tolist()))


def model_of(layers: Sequence[Layer], imputer: Imputer | None = None) -> SimpleNet:
    """Build the PyTorch model of some layers, on the CPU, in evaluation mode."""
    widths = [layer.weight.shape[0] for layer in layers]
    with torch.device("meta"):  # no random draws for weights that are replaced
        model = SimpleNet(layers[0].weight.shape[1], widths[-1], tuple(widths[:-1]))
    for linear, layer in zip(model.linear_layers(), layers, strict=True):
        linear.weight = torch.nn.Parameter(torch.from_numpy(layer.weight), requires_grad=False)
        linear.bias = torch.nn.Parameter(torch.from_numpy(layer.bias), requires_grad=False)
    if imputer is None:
        return model.eval()
    imputation = Imputation(torch.from_numpy(imputer.fill_values), imputer.columns)
    return prepend_imputation(model, imputation).eval()


def copy_to_numpy(tensor: torch.Tensor) -> npt.NDArray[np.float32]:
    """Copy a float32 tensor to numpy."""
    return tensor.detach().cpu().numpy().copy()
