from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainer.device import (
    ESTIMATED,
    Crossover,
    Device,
    Workload,
    crossover_for,
    find_crossover,
    read_crossovers,
    select_by_workload,
)

CARD = "a card"


@pytest.mark.parametrize(
    ("workload", "crossover", "expected"),
    [
        (
            Workload(32, 1_000_000, 100),
            ESTIMATED,
            Device("cpu", "batches of 32 are faster here than on a card (from about 1,024)"),
        ),
        (
            Workload(4096, 1_000_000, 10),
            ESTIMATED,
            Device("cuda", "a card, faster for batches from about 1,024"),
        ),
        (
            Workload(4096, 5000, 10),
            ESTIMATED,
            Device(
                "cpu",
                (
                    "5,000 rows in 10 epochs finish before a card has started (worthwhile from "
                    "about 10,000,000 rows in total)"
                ),
            ),
        ),
        (
            Workload(4096, 800, 10**6),
            ESTIMATED,
            Device("cpu", "batches of 800 are faster here than on a card (from about 1,024)"),
        ),
        (
            Workload(4096, 10**9, 10),
            Crossover(None, 0),
            Device("cpu", "faster than a card for any batch size"),
        ),
        (
            Workload(64, 1000, 1),
            Crossover(64, 1000),
            Device("cuda", "a card, faster for batches from about 64"),
        ),
    ],
    ids=[
        "small batches",
        "large batches",
        "a small workload",
        "a batch is the table",
        "never",
        "at the crossover",
    ],
)
def test_the_workload_decides_with_a_reason(
    workload: Workload, crossover: Crossover, expected: Device
) -> None:
    """Batch size, rows and epochs against the measured crossover of a card."""
    assert select_by_workload(workload, crossover, CARD) == expected


counts = st.integers(1, 10**7)


@given(counts, counts, counts, counts, counts)
def test_a_larger_workload_never_switches_back_to_the_cpu(
    size: int, rows: int, epochs: int, more: int, least: int
) -> None:
    """With more rows and epochs."""
    crossover = Crossover(least, 10**9)
    if select_by_workload(Workload(size, rows, epochs), crossover, CARD).name == "cuda":
        larger = Workload(size, rows + more, epochs + more)
        assert select_by_workload(larger, crossover, CARD).name == "cuda"


def test_a_crossover_is_found_in_measurements() -> None:
    """The first size after the last at which CUDA is not faster; rows pay for its start."""
    sizes = (32, 256, 2048, 16384)
    cpu = (50e-6, 60e-6, 500e-6, 4000e-6)
    found = find_crossover(sizes, cpu, (30e-6, 70e-6, 80e-6, 160e-6), start_s=2.0)
    assert found.batch_size == 2048
    assert found.rows == round(2.0 / (3840e-6 / 16384))
    assert find_crossover(sizes, cpu, cpu, start_s=2.0) == Crossover(None, 0)
    assert find_crossover(sizes, cpu, (1e-6,) * 4, start_s=0.0) == Crossover(32, 0)


def test_unmeasured_cards_have_an_estimate() -> None:
    """The measurements can be read, and a card need not be among them."""
    assert crossover_for("a card of no maker") == ESTIMATED
    measured = read_crossovers()
    assert msgspec.json.decode(msgspec.json.encode(measured), type=dict[str, Crossover]) == measured
