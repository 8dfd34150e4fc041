from __future__ import annotations

import pytest
import torch

from trainer.standardise import measure


@pytest.mark.parametrize("at_once", [1, 3, 100, 10**6])
def test_blocks_are_measured_as_the_whole(monkeypatch: pytest.MonkeyPatch, at_once: int) -> None:
    """Mean and deviation of a table read in blocks are those of the table, also far from 0."""
    features = torch.randn(317, 3, generator=torch.Generator().manual_seed(1)) * 3 + 1e4
    features[:, 2] = 7.0
    monkeypatch.setattr("trainer.standardise._NUMBERS_AT_ONCE", at_once)
    scale = measure(features)
    std, mean = torch.std_mean(features.double(), dim=0, correction=0)
    torch.testing.assert_close(scale.mean, mean, rtol=1e-14, atol=0)
    torch.testing.assert_close(scale.std[:2], std[:2], rtol=1e-11, atol=0)
    assert scale.std[2] == 1
    chosen = torch.tensor([0, 5, 6, 200], dtype=torch.int32)
    expected = measure(features[chosen])
    torch.testing.assert_close(measure(features, chosen).std, expected.std, rtol=1e-11, atol=0)


def test_rows_are_standardised_in_place_to_the_same_bits() -> None:
    """What an engine gathers is what ``apply`` gives."""
    features = torch.randn(50, 4, generator=torch.Generator().manual_seed(1)) * 9 - 2
    scale = measure(features)
    gathered = features.clone()
    scale.apply_into(gathered, torch.empty(50, 4, dtype=torch.float64))
    assert torch.equal(gathered, scale.apply(features))
