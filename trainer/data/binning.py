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
_MAX_COLUMNS: Final = 4096  # of numbers: of more, none is encoded


def fit_encoding(
    features: torch.Tensor, numeric: Sequence[int], bins: int
) -> PiecewiseLinearEncoding | None:
    """Divide numeric inputs into bins with about as many training rows each.

    Args:
        features: of the training rows, ``(rows, n_inputs)`` float32, NaN for missing.
        numeric: positions of the inputs that are numbers.
        bins: of each input, at most; fewer where quantiles are equal and, by ``limit_bins``, in a
            wide or long table.

    Returns:
        The encoding; None where no input has two bins.
    """
    if len(numeric) > _MAX_COLUMNS:
        return None
    edges = _divide(features, numeric, bins)
    most = limit_bins(bins, len(edges), len(features))
    if most < bins:
        edges = _divide(features, tuple(edges), most)
    encoding = PiecewiseLinearEncoding.of(edges) if edges else None
    return encoding if encoding and len(encoding.positions) else None


def _divide(features: torch.Tensor, positions: Sequence[int], bins: int) -> dict[int, torch.Tensor]:
    """Find the edges of inputs with two bins or more: a single bin would be the number itself."""
    found = {position: find_edges(features[:, position].numpy(), bins) for position in positions}
    return {at: torch.from_numpy(edges) for at, edges in found.items() if len(edges) > 2}  # noqa: PLR2004 - see above


def limit_bins(bins: int, inputs: int, rows: int) -> int:
    """Return how many bins each of the encoded inputs of a table may have."""
    encoded = min(_MAX_ENCODED, _MAX_NUMBERS // max(rows, 1))
    return min(bins, encoded // max(inputs, 1))


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
