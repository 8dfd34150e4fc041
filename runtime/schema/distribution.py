"""The distribution of a column: deciles, and the share of rows in each bin."""

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
_TOLERANCE = 1e-6  # of the sum of shares, which are rounded decimals


class Distribution(Value, frozen=True):
    """Deciles and bin shares of a column's values.

    Attributes:
        quantiles: deciles from 0 to 100 %, each a value of the column.
        shares: of the rows in each bin of ``bin_edges(quantiles)``, 0 to 1.
    """

    quantiles: tuple[float, ...]
    shares: tuple[float, ...]


def describe_values(values: npt.NDArray[np.float32]) -> Distribution:
    """Compute the distribution of a column, ``(rows,)``."""
    ordered = np.sort(values)
    quantiles = deciles(ordered)
    edges = np.array(bin_edges(quantiles), dtype=np.float32)
    below = np.searchsorted(ordered, edges, side="right")
    counts = np.diff(below, prepend=0, append=len(ordered))
    return Distribution(quantiles, tuple((counts / len(ordered)).tolist()))


def deciles(ordered: npt.NDArray[Any]) -> tuple[float, ...]:
    """Compute the deciles of sorted values by inverted CDF: each is one of the values."""
    values = ordered[decile_indices(len(ordered))].astype(np.float64)
    return tuple((values + 0.0).tolist())  # + 0.0: no negative zero


def decile_indices(rows: int) -> list[int]:
    """Find the deciles' indices among so many sorted values."""
    steps = DECILES - 1
    return [max(-(-step * rows // steps) - 1, 0) for step in range(DECILES)]


def bin_edges(quantiles: Sequence[float]) -> tuple[float, ...]:
    """Compute the inner edges of the bins: upper bounds, inclusive.

    A decile that repeats gets a bin of its own: many rows have this value.
    """
    counts = Counter(map(np.float32, quantiles))
    lowest, highest = min(counts), max(counts)
    edges: set[np.float32] = set()
    for value, repeats in counts.items():
        if value < highest and (repeats > 1 or value > lowest):
            edges.add(value)
        if value > lowest and repeats > 1:
            edges.add(np.nextafter(value, np.float32(-np.inf)))
    return tuple(map(float, sorted(edges)))


def distribution_error(
    quantiles: Sequence[float], shares: Sequence[float], *, minimum: float, maximum: float
) -> str | None:
    """Validate a distribution; None when it is valid."""
    if len(quantiles) != DECILES:
        return f"there are {len(quantiles)} quantiles instead of {DECILES}"
    if any(low > high for low, high in pairwise(quantiles)):
        return "the quantiles are not ascending"
    if (quantiles[0], quantiles[-1]) != (minimum, maximum):
        return f"the quantiles do not range from minimum {minimum} to maximum {maximum}"
    bins = len(bin_edges(quantiles)) + 1
    if len(shares) != bins:
        return f"there are {len(shares)} shares for {bins} bins of the quantiles"
    if not all(0 <= share <= 1 for share in shares) or abs(math.fsum(shares) - 1) > _TOLERANCE:
        return "the shares are not within 0 to 1 or do not sum to 1"
    return None


def category_shares_error(shares: Sequence[float], categories: int) -> str | None:
    """Validate the shares of categories; None when they are valid."""
    if len(shares) != categories:
        return f"there are {len(shares)} shares for {categories} categories"
    if not all(0 <= share <= 1 for share in shares) or math.fsum(shares) > 1 + _TOLERANCE:
        return "the shares are not within 0 to 1 or sum to more than 1"
    return None
