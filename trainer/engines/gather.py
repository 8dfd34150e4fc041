"""Rows in the order of an epoch, standardised, in buffers that are used again.

In: the training rows as they are stored, and positions. Out: features and labels ready for a
step. A few thousand rows at a time, so that no second copy of the table is ever made.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from trainer.standardise import Standardisation


class Gather:
    """Gathers rows; what it returns is good until it is called again."""

    def __init__(
        self,
        features: torch.Tensor,
        labels: torch.Tensor,
        scale: Standardisation | None,
        most: int,
    ) -> None:
        """Make the buffers.

        Args:
            features: ``(rows, n_features)`` float32, raw, on the CPU.
            labels: ``(rows,)`` int64.
            scale: what standardises a row; None leaves rows raw.
            most: rows that are asked for at once.
        """
        self._features, self._labels, self._scale = features, labels, scale
        self.n_features = features.shape[1]
        self._raw = torch.empty(most, features.shape[1])
        self._wide = torch.empty(most, features.shape[1], dtype=torch.float64)
        self._chosen = torch.empty(most, dtype=torch.int64)

    def __call__(self, order: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Gather rows.

        Args:
            order: positions of rows, ``(rows,)`` int32 or int64.

        Returns:
            Features ``(rows, n_features)`` float32 and labels ``(rows,)`` int64.
        """
        features, labels = self._raw[: len(order)], self._chosen[: len(order)]
        self.into(order, features, labels)
        return features, labels

    def into(self, order: torch.Tensor, features: torch.Tensor, labels: torch.Tensor) -> None:
        """Gather rows into places of the caller's.

        Args:
            order: positions of rows, ``(rows,)`` int32 or int64.
            features: ``(rows, n_features)`` float32 on the CPU, written.
            labels: ``(rows,)`` int64, likewise.
        """
        torch.index_select(self._features, 0, order, out=features)
        torch.index_select(self._labels, 0, order, out=labels)
        if self._scale is not None:
            self._scale.apply_into(features, self._wide[: len(order)])
