"""Bins of numbers for their piecewise linear encoding: quantiles of the training rows.

Standardisation is folded into the first layer, which then adds up large terms of a number such as
1e6 ± 1 that cancel: rounded to float32, what is left of them is noise. Such a number is *far from
0*, and a bin of three times its range, from which the lower edge is subtracted first, takes its
place.

Where a few values make the standard deviation of a number, such as a typing error of 1e6 among
ages, all the others are the same to the network. Such a number is *uneven*, and has bins whether
the others have them or not. Its bins outweigh a number without: less uneven ones have none.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np
import torch

from trainer.piecewise import MAX_WIDTH, MIN_WIDTH, PiecewiseLinearEncoding

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy.typing as npt

    from runtime.schema.features import Feature

# Encoded values are stored for all rows: at most so many inputs and, in all, numbers (4 GiB).
_MAX_ENCODED: Final = 1024
_MAX_NUMBERS: Final = 2**30
_MAX_COLUMNS: Final = 4096  # of numbers: of more, none is encoded
_FAR: Final = 2**10  # from 0, in standard deviations: float32 has 14 bits left for these
_BINS_OF_UNEVEN: Final = 16
_UNEVEN: Final = 2**10  # standard deviation, in typical distances of quantiles: all is lost


def fit_encoding(
    features: torch.Tensor,
    numeric: Sequence[int],
    bins: int,
    far: Mapping[int, torch.Tensor] | None = None,
    *,
    divides_uneven: bool = False,
) -> PiecewiseLinearEncoding | None:
    """Divide numeric inputs into bins with about as many training rows each.

    Args:
        features: of the training rows, ``(rows, n_inputs)`` float32, NaN for missing.
        numeric: positions of the inputs that are numbers.
        bins: of each input, at most; fewer where quantiles are equal and, by ``limit_bins``, in a
            wide or long table; 0 is none.
        far: what ``find_far`` has found.
        divides_uneven: where no input has bins, divide those that are uneven.

    Returns:
        The encoding; None where no input has two bins and none is far from 0.
    """
    edges: dict[int, torch.Tensor] = {}
    if len(numeric) <= _MAX_COLUMNS:
        edges = _divide_all(features, numeric, bins)
        if divides_uneven and not edges:
            uneven = _find_uneven(features, numeric)
            edges = _divide_all(features, uneven, _BINS_OF_UNEVEN)
    encoding = PiecewiseLinearEncoding.of(edges, far) if edges or far else None
    return encoding if encoding and len(encoding.positions) else None


def find_far(features: torch.Tensor, numeric: Mapping[int, Feature]) -> dict[int, torch.Tensor]:
    """Find the inputs far from 0, with both ends of the bin in place of each, by position.

    Args:
        features: of the training rows, ``(rows, n_inputs)`` float32, NaN for missing.
        numeric: the inputs that are numbers, by position.

    Returns:
        ``(2,)`` float32 each.
    """
    # Their ranges tell for most that they are not, without a look at the rows.
    possible = [at for at, each in numeric.items() if _is_narrow(each.minimum, each.maximum)]
    found = {at: _span_if_far(features[:, at].numpy()) for at in possible}
    return {at: torch.from_numpy(span) for at, span in found.items() if span is not None}


def _is_narrow(low: float, high: float) -> bool:
    """Check whether a range is narrower than its distance from 0."""
    return low * high > 0 and min(abs(low), abs(high)) > high - low


def _span_if_far(values: npt.NDArray[np.float32]) -> npt.NDArray[np.float32] | None:
    """Return the bin of three times the range of values, ``(2,)``, if they are far from 0."""
    known = values[~np.isnan(values)]
    if not known.size:
        return None
    low, high = float(known.min()), float(known.max())
    deviation = float(known.std(dtype=np.float64))
    if low == high or abs(float(known.mean(dtype=np.float64))) <= _FAR * deviation:
        return None
    span = np.array([low - (high - low), high + (high - low)], np.float32)
    return span if MIN_WIDTH <= float(span[1]) - float(span[0]) <= MAX_WIDTH else None


def _find_uneven(features: torch.Tensor, positions: Sequence[int]) -> tuple[int, ...]:
    """Find the inputs whose standard deviation is that of a few values."""
    divided = _divide(features, positions, _BINS_OF_UNEVEN)
    return tuple(at for at, edges in divided.items() if _is_uneven(features[:, at], edges))


def _is_uneven(values: torch.Tensor, edges: torch.Tensor) -> bool:
    """Compare the standard deviation with the median distance of ``edges``, which are quantiles."""
    known = values[~values.isnan()].double()
    return float(known.std(correction=0)) > _UNEVEN * float(edges.double().diff().median())


def _divide_all(
    features: torch.Tensor, positions: Sequence[int], bins: int
) -> dict[int, torch.Tensor]:
    """Divide inputs into as many bins as a table may have, at most ``bins`` each."""
    if not bins:
        return {}
    edges = _divide(features, positions, bins)
    most = limit_bins(bins, len(edges), len(features))
    return edges if most == bins else _divide(features, tuple(edges), most)


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
