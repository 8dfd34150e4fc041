from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from trainer.data.preprocessing import fit_standardisation
from trainer.model import SimpleNet, fold_standardisation

UNIT_ROUNDOFF = 2.0**-24


def draw(seed: int, n_features: int, n_classes: int, hidden: tuple[int, ...]) -> SimpleNet:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return SimpleNet(n_features, n_classes, hidden)


def test_the_default_network_draws_the_tutorials_weights() -> None:
    """SimpleNet(2, 2) has the weights of two Linear layers created in order."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(11)
        fc1, fc2 = nn.Linear(2, 32), nn.Linear(32, 2)
    first, second = draw(11, 2, 2, (32,)).linear_layers()
    for ours, theirs in ((first, fc1), (second, fc2)):
        assert torch.equal(ours.weight, theirs.weight)
        assert torch.equal(ours.bias, theirs.bias)


@pytest.mark.parametrize("hidden", [(), (32,), (5, 7, 3)], ids=str)
def test_a_network_is_linear_layers_with_relu_between(hidden: tuple[int, ...]) -> None:
    """For any number of layers."""
    model = draw(1, 3, 4, hidden)
    features = torch.linspace(-2, 2, 30).reshape(10, 3)
    expected = features
    *inner, last = model.linear_layers()
    assert [layer.out_features for layer in inner] == list(hidden)
    for layer in inner:
        expected = torch.relu(layer(expected))
    assert torch.equal(model(features), last(expected))


@given(
    seed=st.integers(0, 2**32 - 1),
    n_features=st.integers(1, 6),
    shift=st.floats(-1e4, 1e4),
    spread=st.floats(1e-3, 1e3),
)
def test_folding_rounds_once(seed: int, n_features: int, shift: float, spread: float) -> None:
    """On raw features the folded layer differs only by rounding its weights."""
    model = draw(seed, n_features, 3, (8,))
    generator = torch.Generator().manual_seed(seed)
    raw = shift + spread * torch.randn(20, n_features, generator=generator, dtype=torch.float64)
    mean, std = raw.mean(0), raw.std(0)
    before = model.linear_layers()[0]
    after = fold_standardisation(model, mean, std).linear_layers()[0]
    exact = (raw - mean) / std @ before.weight.double().T + before.bias.double()
    folded = raw @ after.weight.double().T + after.bias.double()
    scale = raw.abs() @ after.weight.double().abs().T + after.bias.double().abs()
    # 2 for the float64 arithmetic of this very comparison, far below one float32 rounding.
    assert ((folded - exact).abs() <= 2 * UNIT_ROUNDOFF * scale).all()


def test_folding_changes_only_a_copys_first_layer() -> None:
    """The model in training does not change."""
    model = draw(2, 2, 2, (4, 4))
    before = [weight.clone() for weight in model.state_dict().values()]
    folded = fold_standardisation(model, torch.tensor([5.0, 3.0]).double(), torch.ones(2).double())
    assert all(map(torch.equal, model.state_dict().values(), before))
    assert all(map(torch.equal, list(folded.state_dict().values())[2:], before[2:]))
    assert not torch.equal(folded.linear_layers()[0].bias, model.linear_layers()[0].bias)


def test_a_constant_column_has_no_influence() -> None:
    """Initial weights times 7e8, rounded, would be noise of 64; also where the mean is rounded."""
    features = torch.tensor([[7e8, 1.0, 0.1], [7e8, 2.0, 0.1], [7e8, 1.5, 0.1]])
    scale = fit_standardisation(features)
    assert scale.std.isinf().tolist() == [True, False, True]
    assert scale.apply(features)[:, [0, 2]].eq(0).all()
    model = draw(2, 3, 2, (4,))
    folded = fold_standardisation(model, scale.mean, scale.std)
    weight = folded.linear_layers()[0].weight
    assert weight[:, [0, 2]].eq(0).all()
    assert weight[:, 1].ne(0).all()
    torch.testing.assert_close(folded(features), model(scale.apply(features)))
