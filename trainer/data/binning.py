"""Bins of numbers for their piecewise linear encoding: quantiles of the training rows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np
import torch

from trainer.piecewise import MIN_WIDTH, PiecewiseLinearEncoding

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

# Encoded values are stored for all rows: at most so many inputs and, in all, numbers (4 GiB).
_MAX_ENCODED: Final = 1024
_MAX_NUMBERS: Final = 2**30


def fit_encoding(
    features: torch.Tensor, numeric: Sequence[int], bins: int
) -> PiecewiseLinearEncoding | None:
    """Divide numeric inputs into bins with about as many training rows each.

    Args:
        features: of the training rows, ``(rows, n_inputs)`` float32, NaN for missing.
        numeric: positions of the inputs that are numbers.
        bins: of each input, at most; fewer in a wide or long table, see ``limit_bins``, and where
            quantiles are equal.

    Returns:
        The encoding; None where no input has two bins.
    """
    most = limit_bins(bins, len(numeric), len(features))
    if most < 2:  # noqa: PLR2004 - one bin is the number itself
        return None
    found = {position: find_edges(features[:, position].numpy(), most) for position in numeric}
    edges = {at: torch.from_numpy(each) for at, each in found.items() if len(each) > 2}  # noqa: PLR2004 - as above
    encoding = PiecewiseLinearEncoding.of(edges) if edges else None
    return encoding if encoding and len(encoding.positions) else None


def limit_bins(bins: int, numeric: int, rows: int) -> int:
    """Return how many bins each of the numeric inputs of a table may have."""
    encoded = min(_MAX_ENCODED, _MAX_NUMBERS // max(rows, 1))
    return min(bins, encoded // max(numeric, 1))


def find_edges(values: npt.NDArray[np.float32], bins: int) -> npt.NDArray[np.float32]:
    """Find the edges of at most so many bins, ascending: distinct quantiles that are values.

    ``values`` are ``(rows,)``; missing ones do not count. An edge too close to the one before for
    float32 to divide by their distance is left out.
    """
    known = values[~np.isnan(values)]
    if not known.size:
        return known
    ranks = np.rint(np.linspace(0, known.size - 1, bins + 1)).astype(np.intp)
    # Adding 0 makes -0 the other zero: which of the two a partition returns may differ.
    quantiles = np.unique(np.partition(known, np.unique(ranks))[ranks] + np.float32(0))
    edges = [quantiles[0]]
    for edge in quantiles[1:]:
        if float(edge) - float(edges[-1]) >= MIN_WIDTH:
            edges.append(edge)
    return np.array(edges, np.float32)
