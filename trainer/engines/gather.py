"""Gather training rows in the order of an epoch, standardised, into reused buffers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from trainer.model import Standardisation


class Gather:
    """Gathers rows on the CPU; the tensors returned are valid until the next call."""

    def __init__(
        self,
        features: torch.Tensor,
        labels: torch.Tensor,
        scale: Standardisation | None,
        most: int,
    ) -> None:
        """Allocate buffers for ``most`` rows; features are raw, ``(rows, n_features)`` float32."""
        self._features, self._labels, self._scale = features, labels, scale
        self.n_features = features.shape[1]
        self._raw = torch.empty(most, features.shape[1])
        self._wide = torch.empty(most, features.shape[1], dtype=torch.float64)
        self._chosen = torch.empty(most, dtype=torch.int64)

    def __call__(self, order: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Gather features and labels of the positions ``order``, ``(rows,)``."""
        features, labels = self._raw[: len(order)], self._chosen[: len(order)]
        self.into(order, features, labels)
        return features, labels

    def into(self, order: torch.Tensor, features: torch.Tensor, labels: torch.Tensor) -> None:
        """Gather into the caller's buffers on the CPU."""
        torch.index_select(self._features, 0, order, out=features)
        torch.index_select(self._labels, 0, order, out=labels)
        if self._scale is not None:
            self._scale.apply_into(features, self._wide[: len(order)])
