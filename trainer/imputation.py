"""Missing numbers inside the network: the mean in their place, and a mark that they were missing.

In: raw inputs with NaN where a cell was missing. Out: inputs without, and a mark for each column
that training had gaps in. A choice between two numbers rounds nothing, so the network's error
bounds hold as they are on what comes out here. No errors.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn

if TYPE_CHECKING:
    from collections.abc import Sequence


FILLS = "imputation.fills"  # in a network's state dict


class Imputation(nn.Module):
    """Fills gaps and marks them; other NaN stay what they are."""

    fills: torch.Tensor
    gaps: torch.Tensor
    places: torch.Tensor

    def __init__(self, fills: torch.Tensor, places: Sequence[int]) -> None:
        """Take what was measured on the training rows.

        Args:
            fills: ``(n_inputs,)`` float32, what stands in for a missing number.
            places: of the inputs that may be missing, ascending.
        """
        super().__init__()
        gaps = torch.zeros(len(fills), dtype=torch.bool)
        gaps[list(places)] = True
        self.register_buffer("fills", torch.where(gaps, fills, 0.0))
        # The schema says which they are: they need no second place in a run.
        self.register_buffer("gaps", gaps, persistent=False)
        self.register_buffer("places", torch.tensor(places, dtype=torch.int64), persistent=False)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Fill and mark.

        Args:
            inputs: ``(batch, n_inputs)`` float32, NaN where a number is missing.

        Returns:
            ``(batch, n_inputs + n_gaps)`` float32: the filled inputs, then 1 for each gap.
        """
        missing = torch.logical_and(torch.isnan(inputs), self.gaps)  # (batch, n_inputs)
        filled = torch.where(missing, self.fills, inputs)  # (batch, n_inputs)
        marks = torch.index_select(missing, 1, self.places).to(torch.float32)  # (batch, n_gaps)
        return torch.cat([filled, marks], dim=1)


def measure_gaps(inputs: torch.Tensor, places: Sequence[int]) -> Imputation:
    """Measure what to put into the gaps: the mean of the training rows that have a number.

    Args:
        inputs: ``(rows, n_inputs)`` float32, NaN where a number is missing.
        places: of the inputs that may be missing.

    Returns:
        The imputation; 0 for an input that no row has.
    """
    means = torch.nanmean(inputs.double(), dim=0)  # (n_inputs,)
    return Imputation(torch.nan_to_num(means, nan=0.0).float(), places)
