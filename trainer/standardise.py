"""Mean and standard deviation of the training rows, in float64.

In: raw features. Out: the features a standardising fit trains on; ``model.fold_standardisation``
takes the same two vectors back out of the network.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch


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


def measure(features: torch.Tensor) -> Standardisation:
    """Measure the training rows.

    Args:
        features: ``(rows, n_features)`` float32.

    Returns:
        Their mean and standard deviation (of the rows themselves, divided by their number).
    """
    std, mean = torch.std_mean(features.double(), dim=0, correction=0)  # (n_features,) each
    return Standardisation(mean=mean, std=torch.where(std > 0, std, 1.0))
