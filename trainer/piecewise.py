"""Piecewise linear encoding of numbers, as a part of the network.

Gorishniy, Rubachev and Babenko, *On Embeddings for Numerical Features in Tabular Deep Learning*
(2022), section 3.2: the range of a number is divided into bins, and each bin is an input that rises
from 0 at its lower edge to 1 at its upper one. So the first layer sums a piecewise linear function
of the number. Unlike there, the outer bins are clipped too: the number itself stays an input.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import torch
from torch import nn

if TYPE_CHECKING:
    from collections.abc import Mapping

POSITIONS: Final = "encoding.positions"  # in a network's state dict, as the next two
LOWS: Final = "encoding.lows"
SCALES: Final = "encoding.scales"
# Of a bin: its scale and what float32 may flush to 0 stay far from where they would matter.
MIN_WIDTH: Final = 2.0**-100
MAX_WIDTH: Final = 2.0**125


class PiecewiseLinearEncoding(nn.Module):
    """Appends ``clip((x - low) * scale, 0, 1)`` for each bin of the inputs that are divided.

    The difference is exact near the lower edge, and clipping rounds nothing. An infinity becomes 0
    or 1, NaN stays NaN.
    """

    positions: torch.Tensor
    lows: torch.Tensor
    scales: torch.Tensor

    def __init__(self, positions: torch.Tensor, lows: torch.Tensor, scales: torch.Tensor) -> None:
        """Store the bins.

        Args:
            positions: ``(bins,)`` int64, the input that each bin belongs to.
            lows: ``(bins, 1)`` float32, lower edges.
            scales: ``(bins, 1)`` float32, inverse widths.
        """
        super().__init__()
        self.register_buffer("positions", positions)
        self.register_buffer("lows", lows)
        self.register_buffer("scales", scales)

    @classmethod
    def of(
        cls, edges: Mapping[int, torch.Tensor], spans: Mapping[int, torch.Tensor] | None = None
    ) -> PiecewiseLinearEncoding:
        """Make the bins between edges, by the position of their input.

        Args:
            edges: ascending, ``(edges,)`` float32 of each input; bins wider than ``MAX_WIDTH`` are
                left out.
            spans: both ends of one more bin of an input, ``(2,)`` float32.

        Returns:
            The encoding.
        """
        positions, lows, scales = [], [], []
        spans = spans or {}
        none = torch.empty(0)
        for position in (*edges, *(each for each in spans if each not in edges)):
            for found in (edges.get(position, none), spans.get(position, none)):
                widths = found.double().diff()  # (edges - 1,)
                usable = widths <= MAX_WIDTH
                positions.append(torch.full((int(usable.sum()),), position))
                lows.append(found[:-1][usable])
                scales.append((1 / widths[usable]).float())
        return cls(torch.cat(positions), torch.cat(lows)[:, None], torch.cat(scales)[:, None])

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Append the encoded values, ``(batch, n_inputs)`` to ``(batch, n_inputs + bins)``.

        Transposed, an input is consecutive numbers: onnxruntime copies and encodes it at once.
        """
        columns = inputs.t()  # (n_inputs, batch)
        chosen = torch.index_select(columns, 0, self.positions)  # (bins, batch)
        encoded = torch.clamp((chosen - self.lows) * self.scales, 0.0, 1.0)
        return torch.cat([columns, encoded], dim=0).t()
