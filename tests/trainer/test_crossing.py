from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainer.crossing import (
    RECKONED,
    Crossing,
    Device,
    Work,
    choose_by_size,
    crossing_of,
    find_crossing,
    read_crossings,
)

CARD = "a card"


@pytest.mark.parametrize(
    ("work", "crossing", "expected"),
    [
        (
            Work(32, 1_000_000, 100),
            RECKONED,
            Device("cpu", "batches of 32 are faster here than on a card (from about 1,024)"),
        ),
        (
            Work(4096, 1_000_000, 10),
            RECKONED,
            Device("cuda", "a card, faster for batches from about 1,024"),
        ),
        (
            Work(4096, 5000, 10),
            RECKONED,
            Device(
                "cpu",
                (
                    "5,000 rows in 10 epochs are done before a card has started (it pays from "
                    "about 10,000,000 rows in all)"
                ),
            ),
        ),
        (
            Work(4096, 800, 10**6),
            RECKONED,
            Device("cpu", "batches of 800 are faster here than on a card (from about 1,024)"),
        ),
        (
            Work(4096, 10**9, 10),
            Crossing(None, 0),
            Device("cpu", "it is faster here than a card, whatever the batch"),
        ),
        (
            Work(64, 1000, 1),
            Crossing(64, 1000),
            Device("cuda", "a card, faster for batches from about 64"),
        ),
    ],
    ids=[
        "small batches",
        "large batches",
        "little to do",
        "a batch is the table",
        "never",
        "at the crossing",
    ],
)
def test_the_size_decides_and_the_reason_says_so(
    work: Work, crossing: Crossing, expected: Device
) -> None:
    """Batch, rows and epochs against where a card was measured to cross."""
    assert choose_by_size(work, crossing, CARD) == expected


counts = st.integers(1, 10**7)


@given(counts, counts, counts, counts, counts)
def test_more_work_never_turns_away_from_cuda(
    size: int, rows: int, epochs: int, more: int, least: int
) -> None:
    """What is large enough stays so with more rows and epochs."""
    crossing = Crossing(least, 10**9)
    if choose_by_size(Work(size, rows, epochs), crossing, CARD).name == "cuda":
        larger = Work(size, rows + more, epochs + more)
        assert choose_by_size(larger, crossing, CARD).name == "cuda"


def test_a_crossing_is_read_off_what_was_measured() -> None:
    """The first size after the last at which CUDA is no faster; the start is paid by rows."""
    sizes = (32, 256, 2048, 16384)
    cpu = (50e-6, 60e-6, 500e-6, 4000e-6)
    found = find_crossing(sizes, cpu, (30e-6, 70e-6, 80e-6, 160e-6), start_s=2.0)
    assert found.batch_size == 2048
    assert found.rows == round(2.0 / (3840e-6 / 16384))
    assert find_crossing(sizes, cpu, cpu, start_s=2.0) == Crossing(None, 0)
    assert find_crossing(sizes, cpu, (1e-6,) * 4, start_s=0.0) == Crossing(32, 0)


def test_cards_that_nobody_measured_are_reckoned() -> None:
    """The table of what was measured can be read, and is no condition."""
    assert crossing_of("a card of no maker") == RECKONED
    measured = read_crossings()
    assert msgspec.json.decode(msgspec.json.encode(measured), type=dict[str, Crossing]) == measured
