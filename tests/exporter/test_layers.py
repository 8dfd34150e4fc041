from __future__ import annotations

import numpy as np
import pytest
import torch

from exporter.truth.layer import Layer, check_layers
from exporter.truth.layers import layers_from_state, layers_of, model_of
from runtime.errors import ArtifactError, ParityError
from runtime.schema import Feature, Schema
from trainer.model import SimpleNet

SCHEMA = Schema("kind", tuple(Feature(name, 0, 1) for name in "abc"), ("x", "y"))
WIDE, NARROW = torch.zeros(4, 3), torch.zeros(2, 4)
FOUR, TWO = torch.zeros(4), torch.zeros(2)


def layer(outputs: int, inputs: int, value: float = 0.5) -> Layer:
    weight = np.full((outputs, inputs), value, np.float32)
    return Layer(weight, np.zeros(outputs, np.float32))


def test_layers_and_models_are_two_forms_of_one_thing() -> None:
    """A model made from a model's layers computes the same bits, and so do its parameters."""
    torch.manual_seed(2)
    model = SimpleNet(3, 2, (4, 5)).eval()
    layers = layers_of(model)
    features = torch.randn(9, 3)
    rebuilt = model_of(layers)
    assert not rebuilt.training
    assert torch.equal(rebuilt(features), model(features))
    read = layers_from_state(model.state_dict(), SCHEMA, where="it")
    for first, second in zip(layers, read, strict=True):
        assert np.array_equal(first.weight, second.weight)
        assert np.array_equal(first.bias, second.bias)


def test_layers_are_copies() -> None:
    """Training on does not change what was read before."""
    model = SimpleNet(3, 2)
    (first, _) = layers_of(model)
    before = first.weight.copy()
    with torch.no_grad():
        model.linear_layers()[0].weight.zero_()
    assert np.array_equal(first.weight, before)


@pytest.mark.parametrize(
    "state",
    [
        {},
        {"w": WIDE, "b": FOUR},
        {"w": WIDE, "b": FOUR, "w2": NARROW},
        {"w": WIDE, "b": TWO, "w2": NARROW, "b2": TWO},
        {"w": NARROW, "b": TWO},
        {"w": WIDE.double(), "b": FOUR, "w2": NARROW, "b2": TWO},
        {"w": WIDE, "b": FOUR[None], "w2": NARROW, "b2": TWO},
        {"w": WIDE[None], "b": FOUR, "w2": NARROW, "b2": TWO},
    ],
    ids=["none", "too few", "odd", "bias", "inputs", "dtype", "bias matrix", "weight cube"],
)
def test_parameters_that_are_no_chain_are_an_artifact_error(state: dict[str, torch.Tensor]) -> None:
    """Nothing is proven from parameters that no SimpleNet has."""
    with pytest.raises(ArtifactError, match="it holds no chain of Linear layers"):
        layers_from_state(state, SCHEMA, where="it")


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
    """A network that answers NaN agrees with every other one: it is not proven."""
    with pytest.raises(ParityError, match=reason):
        check_layers(layers)
