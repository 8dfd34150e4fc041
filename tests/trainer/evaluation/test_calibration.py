from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional

from trainer.evaluation.calibration import best_temperature


def draw_logits(rows: int, classes: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits that predict better than chance, and not always right."""
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(rows, classes, generator=generator) * 2
    labels = torch.multinomial(logits.softmax(dim=1), 1, generator=generator).flatten()
    return logits, labels


@given(
    rows=st.integers(2, 300),
    classes=st.integers(2, 6),
    seed=st.integers(0, 1000),
    factor=st.floats(0.01, 100),
)
def test_the_temperature_has_the_lowest_loss(
    rows: int, classes: int, seed: int, factor: float
) -> None:
    """No other in its range has a lower one, however large the logits are."""
    logits, labels = draw_logits(rows, classes, seed)
    logits = logits * factor
    found = best_temperature(logits, labels)
    assert 0.25 <= found <= 16
    tried = torch.logspace(-2, 4, 300, base=2, dtype=torch.float64).tolist()
    best = functional.cross_entropy(logits.double() / found, labels)
    for temperature in (found * 0.999, found * 1.001, *tried):
        if 0.25 <= temperature <= 16:
            assert best <= functional.cross_entropy(logits.double() / temperature, labels) + 1e-12


def test_the_temperature_of_calibrated_logits_is_one() -> None:
    """Of many rows, of which a part is used; logits that are too large get it back."""
    logits, labels = draw_logits(60_000, 4, 1)
    assert best_temperature(logits, labels) == pytest.approx(1, abs=0.03)
    assert best_temperature(3 * logits, labels) == pytest.approx(3, abs=0.1)


def test_rows_that_are_all_right_do_not_make_it_extreme() -> None:
    """And neither do rows that are all wrong."""
    logits = torch.tensor([[3.0, 0.0], [0.0, 2.0]])
    assert best_temperature(logits, torch.tensor([0, 1])) == pytest.approx(0.25)
    assert best_temperature(logits, torch.tensor([1, 0])) == pytest.approx(16)
