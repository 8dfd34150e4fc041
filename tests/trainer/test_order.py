from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.utils.data import RandomSampler

from trainer.order import epoch_generator, row_order
from trainer.seeds import MAX_SEED, derive_seed

seeds = st.integers(0, MAX_SEED)


@given(seed=seeds, epoch=st.integers(0, 10**9), rows=st.integers(0, 200))
def test_an_order_is_a_permutation_and_a_function_of_its_arguments(
    seed: int, epoch: int, rows: int
) -> None:
    """Every row is visited once, in the same order whatever was drawn before."""
    order = row_order(seed, epoch, rows)
    assert sorted(order.tolist()) == list(range(rows))
    row_order(seed, epoch + 1, rows)
    assert torch.equal(row_order(seed, epoch, rows), order)


def test_orders_differ_between_epochs_and_seeds() -> None:
    """No two epochs share an order, and the high bits of the seed count as well."""
    orders = {
        tuple(row_order(seed, epoch, 50).tolist())
        for seed in (0, 1, 2**32, 2**62)
        for epoch in range(20)
    }
    assert len(orders) == 4 * 20


def test_the_order_is_that_of_a_random_sampler() -> None:
    """A DataLoader with the epoch's generator visits the rows in the same order."""
    sampler = RandomSampler(range(800), generator=epoch_generator(5, 2))
    assert list(sampler) == row_order(5, 2, 800).tolist()


def test_a_seed_keeps_its_streams_between_releases() -> None:
    """A run that was cut off can be taken up by a newer release."""
    assert derive_seed(1, "order", 3) == 3459922104430267788


@given(seed=seeds)
def test_derived_seeds_are_in_range_and_apart(seed: int) -> None:
    """Streams for different purposes have different seeds, all of them valid."""
    derived = [
        derive_seed(seed, "products"),
        derive_seed(seed, "weights"),
        *(derive_seed(seed, "order", epoch) for epoch in range(3)),
    ]
    assert all(0 <= value <= MAX_SEED for value in derived)
    assert len({value & 0xFFFFFFFF for value in derived}) == len(derived)
