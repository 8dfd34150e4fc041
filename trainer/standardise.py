"""Mean and standard deviation of the training rows, in float64.

In: raw features. Out: the features a standardising fit trains on; ``model.fold_standardisation``
takes the same two vectors back out of the network.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

_NUMBERS_AT_ONCE = 2**17  # in float64: 1 MiB beside the table


@dataclass(frozen=True)
class Standardisation:
    """What ``(x - mean) / std`` needs.

    Attributes:
        mean: ``(n_features,)`` float64.
        std: ``(n_features,)`` float64; 1 for a constant column.
    """

    mean: torch.Tensor
    std: torch.Tensor

    def apply(self, features: torch.Tensor) -> torch.Tensor:
        """Standardise in float64 and round once.

        Args:
            features: ``(rows, n_features)`` float32.

        Returns:
            ``(rows, n_features)`` float32.
        """
        return ((features.double() - self.mean) / self.std).float()

    def apply_into(self, features: torch.Tensor, wide: torch.Tensor) -> None:
        """Standardise rows in place; the same bits as ``apply``.

        Args:
            features: ``(rows, n_features)`` float32, changed.
            wide: ``(rows, n_features)`` float64, used in between.
        """
        torch.sub(features, self.mean, out=wide)
        features.copy_(wide.div_(self.std))


def measure(features: torch.Tensor, chosen: torch.Tensor | None = None) -> Standardisation:
    """Measure the training rows; a large table block by block, without a copy of it.

    Blocks are joined as in Chan, Golub and LeVeque, Updating Formulae and a Pairwise Algorithm
    for Computing Sample Variances (1979), equation 1.5.

    Args:
        features: ``(rows, n_features)`` float32.
        chosen: positions of the rows to measure, ``(rows,)``; None is all of them.

    Returns:
        Their mean and standard deviation (of the rows themselves, divided by their number).
    """
    at_once = max(1, _NUMBERS_AT_ONCE // features.shape[1])
    blocks = torch.split(features if chosen is None else chosen, at_once)
    rows, mean, std = 0, torch.zeros(()), torch.zeros(())
    for block in blocks:
        values = (block if chosen is None else features[block]).double()
        std_here, mean_here = torch.std_mean(values, dim=0, correction=0)  # (n_features,) each
        if rows:
            mean, std = _join((rows, mean, std), (len(values), mean_here, std_here))
        else:
            mean, std = mean_here, std_here
        rows += len(values)
    return Standardisation(mean=mean, std=torch.where(std > 0, std, 1.0))


_Moments = tuple[int, torch.Tensor, torch.Tensor]  # rows, mean, standard deviation


def _join(one: _Moments, other: _Moments) -> tuple[torch.Tensor, torch.Tensor]:
    """Find mean and standard deviation of two blocks together."""
    rows = one[0] + other[0]
    apart = other[1] - one[1]  # (n_features,)
    mean = one[1] + apart * (other[0] / rows)
    squares = one[0] * one[2] ** 2 + other[0] * other[2] ** 2
    return mean, ((squares + apart**2 * (one[0] * other[0] / rows)) / rows).sqrt()
