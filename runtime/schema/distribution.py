"""How the values of a column are distributed: deciles, and the share of rows in each bin."""

from __future__ import annotations

import math
from collections import Counter
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from runtime.value import Value

if TYPE_CHECKING:
    from collections.abc import Sequence


DECILES = 11  # 0, 10, …, 100 %
_ROUNDING = 1e-6  # how far shares that were written as decimals may sum from 1


class Distribution(Value, frozen=True):
    """What a column's values look like.

    Attributes:
        quantiles: deciles from 0 to 100 %, each a value that occurs.
        shares: of the rows in each bin, 0 to 1; one more than ``bin_edges(quantiles)``.
    """

    quantiles: tuple[float, ...]
    shares: tuple[float, ...]


def describe_values(values: npt.NDArray[np.float32]) -> Distribution:
    """Describe a column."""
    ordered = np.sort(values)
    quantiles = deciles(ordered)
    cuts = np.array(bin_edges(quantiles), dtype=np.float32)
    below = np.searchsorted(ordered, cuts, side="right")
    counts = np.diff(below, prepend=0, append=len(ordered))
    return Distribution(quantiles, tuple((counts / len(ordered)).tolist()))


def deciles(ordered: npt.NDArray[Any]) -> tuple[float, ...]:
    """Pick the deciles: the smallest value that at least so many rows do not exceed."""
    steps = DECILES - 1
    places = [max(-(-step * len(ordered) // steps) - 1, 0) for step in range(DECILES)]
    return tuple((ordered[places].astype(np.float64) + 0.0).tolist())  # + 0.0: no negative zero


def bin_edges(quantiles: Sequence[float]) -> tuple[float, ...]:
    """Say where one bin ends and the next begins."""
    counts = Counter(map(np.float32, quantiles))
    lowest, highest = min(counts), max(counts)
    cuts: set[np.float32] = set()
    for value, places in counts.items():
        if value < highest and (places > 1 or value > lowest):
            cuts.add(value)
        if value > lowest and places > 1:
            cuts.add(np.nextafter(value, np.float32(-np.inf)))
    return tuple(map(float, sorted(cuts)))


def distribution_error(
    quantiles: Sequence[float], shares: Sequence[float], *, minimum: float, maximum: float
) -> str | None:
    """Check figures from a file."""
    if len(quantiles) != DECILES:
        return f"there are {len(quantiles)} quantiles instead of {DECILES}"
    if any(low > high for low, high in pairwise(quantiles)):
        return "the quantiles are not ascending"
    if (quantiles[0], quantiles[-1]) != (minimum, maximum):
        return f"the quantiles do not lead from minimum {minimum} to maximum {maximum}"
    bins = len(bin_edges(quantiles)) + 1
    if len(shares) != bins:
        return f"there are {len(shares)} shares for the {bins} bins that the quantiles make"
    if not all(0 <= share <= 1 for share in shares) or abs(math.fsum(shares) - 1) > _ROUNDING:
        return "the shares are not from 0 to 1 with the sum 1"
    return None
