"""Set a part of each class's rows aside to judge by.

In: labels, a share and a seed. Out: which rows are set aside; a function of these and nothing
else, so that the same table is split alike on every machine. No errors.

Each row has a number drawn for it by hashing seed and position (SplitMix64's mixing function,
Steele, Lea and Flood, *OOPSLA* 2014); of each class the rows with the smallest are set aside.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from trainer.seeds import derive_seed

if TYPE_CHECKING:
    import numpy.typing as npt

_STEP = np.uint64(0x9E3779B97F4A7C15)
_MIX = ((30, np.uint64(0xBF58476D1CE4E5B9)), (27, np.uint64(0x94D049BB133111EB)))


def choose_test_rows(
    labels: npt.NDArray[np.int64], share: float, seed: int
) -> npt.NDArray[np.bool_]:
    """Choose the rows to judge by, in the same share of every class.

    Args:
        labels: ``(rows,)`` int64, from 0 to 65,535.
        share: of each class, above 0 and below 1; rounded to rows, but at least one row of a
            class goes to either side.
        seed: the run's seed.

    Returns:
        ``(rows,)`` bool, true for the rows that are set aside.
    """
    drawn = draw_numbers(len(labels), derive_seed(seed, "split"))
    order = np.argsort(labels.astype(np.uint16), kind="stable")  # narrow numbers sort fast
    chosen = np.zeros(len(labels), dtype=np.bool_)
    for rows in np.split(order, np.cumsum(np.bincount(labels))[:-1]):  # of each class
        wanted = min(max(round(share * len(rows)), 1), len(rows) - 1)
        if wanted > 0:
            chosen[rows[np.argpartition(drawn[rows], wanted - 1)[:wanted]]] = True
    return chosen


def draw_numbers(rows: int, seed: int) -> npt.NDArray[np.uint64]:
    """Draw a number for every row: ``(rows,)`` uint64, a function of its position and the seed."""
    mixed = np.arange(1, rows + 1, dtype=np.uint64) * _STEP + np.uint64(seed)
    return mix(mixed)


def mix(numbers: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """Mix the bits of numbers, ``(rows,)`` uint64, so that each depends on all; one to one."""
    for shift, factor in _MIX:
        numbers = (numbers ^ (numbers >> np.uint64(shift))) * factor
    return numbers ^ (numbers >> np.uint64(31))
