from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainer.data.splits import draw_numbers, split_test


@given(
    st.lists(st.integers(min_value=2, max_value=50), min_size=2, max_size=6),
    st.floats(min_value=0.01, max_value=0.99),
    st.integers(min_value=0, max_value=2**63 - 1),
)
def test_each_class_gives_its_share(counts: list[int], share: float, seed: int) -> None:
    """Of every class the share, within a row, and at least one row on either side."""
    labels = np.random.default_rng(1).permutation(np.repeat(np.arange(len(counts)), counts))
    chosen = split_test(labels, share, seed)
    for label, count in enumerate(counts):
        got = int(chosen[labels == label].sum())
        assert 1 <= got < count
        assert abs(got - share * count) <= 1
    assert np.array_equal(chosen, split_test(labels, share, seed))


def test_a_row_is_drawn_by_seed_and_position_alone() -> None:
    """Further rows change no row's number; another seed changes nearly all."""
    numbers = draw_numbers(1000, 5)
    assert np.array_equal(numbers, draw_numbers(2000, 5)[:1000])
    assert len(np.unique(numbers)) == 1000
    assert (numbers != draw_numbers(1000, 6)).all()


@pytest.mark.parametrize("seed", range(5))
def test_test_rows_are_spread_evenly(seed: int) -> None:
    """Every tenth of the table has its share of test rows, within five standard deviations."""
    chosen = split_test(np.zeros(100_000, np.int64), 0.2, seed)
    parts = chosen.reshape(10, -1).sum(axis=1)
    assert np.abs(parts - 2000).max() < 5 * np.sqrt(10_000 * 0.2 * 0.8)
