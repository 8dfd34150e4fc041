from __future__ import annotations

import pytest
import torch

from runtime.errors import DataError
from runtime.schema.features import Feature, Schema
from trainer.data import preprocessing
from trainer.data.preprocessing import check_spread, fit_standardisation


@pytest.mark.parametrize("at_once", [1, 3, 100, 10**6])
def test_block_statistics_equal_those_of_the_table(
    monkeypatch: pytest.MonkeyPatch, at_once: int
) -> None:
    """Mean and standard deviation, also far from 0."""
    features = torch.randn(317, 3, generator=torch.Generator().manual_seed(1)) * 3 + 1e4
    features[:, 2] = 7.0
    monkeypatch.setattr(preprocessing, "_BLOCK_NUMBERS", at_once)
    monkeypatch.setattr(preprocessing, "_MIN_BLOCK_ROWS", 1)
    scale = fit_standardisation(features)
    std, mean = torch.std_mean(features.double(), dim=0, correction=0)
    torch.testing.assert_close(scale.mean, mean, rtol=1e-14, atol=0)
    torch.testing.assert_close(scale.std[:2], std[:2], rtol=1e-11, atol=0)
    assert scale.std[2] == torch.inf
    chosen = torch.tensor([0, 5, 6, 200], dtype=torch.int32)
    expected = fit_standardisation(features[chosen])
    torch.testing.assert_close(
        fit_standardisation(features, chosen).std, expected.std, rtol=1e-11, atol=0
    )


def test_rows_are_standardised_in_place_to_the_same_bits() -> None:
    """``apply_in_place`` equals ``apply``."""
    features = torch.randn(50, 4, generator=torch.Generator().manual_seed(1)) * 9 - 2
    scale = fit_standardisation(features)
    gathered = features.clone()
    scale.apply_in_place(gathered, torch.empty(50, 4, dtype=torch.float64))
    assert torch.equal(gathered, scale.apply(features))


@pytest.mark.parametrize(("factor", "size"), [(1e-41, "small"), (1e37, "large")])
def test_numbers_that_float32_weights_cannot_be_scaled_to_are_refused(
    factor: float, size: str
) -> None:
    """The column is named: the loss would be NaN, and a lower learning rate no help."""
    schema = Schema("y", (Feature("a", 0, 1), Feature("b", 0, 1)), ("p", "q"))
    features = torch.tensor([[0.0, 1.0], [1.0, 2.0]]) * torch.tensor([1.0, factor])
    with pytest.raises(DataError, match=rf"'b' has .* too {size} .* power of ten"):
        check_spread(fit_standardisation(features), schema)
