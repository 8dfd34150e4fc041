from __future__ import annotations

import numpy as np
import pytest
import torch

from exporter.reference.layers import Layer, check_layers, layers_of, model_of
from runtime.errors import ParityError
from trainer.model import SimpleNet


def layer(outputs: int, inputs: int, value: float = 0.5) -> Layer:
    weight = np.full((outputs, inputs), value, np.float32)
    return Layer(weight, np.zeros(outputs, np.float32))


def test_layers_and_models_are_two_forms_of_one_thing() -> None:
    """A model made from a model's layers computes the same bits."""
    torch.manual_seed(2)
    model = SimpleNet(3, 2, (4, 5)).eval()
    layers = layers_of(model)
    features = torch.randn(9, 3)
    rebuilt = model_of(layers)
    assert not rebuilt.training
    assert torch.equal(rebuilt(features), model(features))


def test_layers_are_copies() -> None:
    """Training on does not change what was read before."""
    model = SimpleNet(3, 2)
    (first, _) = layers_of(model)
    before = first.weight.copy()
    with torch.no_grad():
        model.linear_layers()[0].weight.zero_()
    assert np.array_equal(first.weight, before)


@pytest.mark.parametrize(
    ("layers", "reason"),
    [
        ((), "no Linear layer"),
        ((layer(4, 3), layer(2, 5)), "layer 0 of the model has 4 outputs, the next reads 5"),
        ((layer(4, 3), layer(2, 4, np.nan)), "layer 1 of the model has 8 weights that are NaN"),
        ((layer(4, 3, np.inf),), "layer 0 of the model has 12 weights"),
    ],
    ids=["none", "no chain", "nan", "inf"],
)
def test_layers_without_a_bound_are_a_parity_error(layers: tuple[Layer, ...], reason: str) -> None:
    """A network that returns NaN agrees with every other one: it is not proven."""
    with pytest.raises(ParityError, match=reason):
        check_layers(layers)
