"""Evaluation of an ensemble on its training rows, by the members that have not seen them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from trainer.evaluation.metrics import BLOCK_ROWS, Scores, score_logits

if TYPE_CHECKING:
    from trainer.data.training_data import TrainingData
    from trainer.ensemble import Ensemble
    from trainer.model import Standardisation


class OutOfFoldRows:
    """Training rows by their fold."""

    def __init__(self, rows: TrainingData, folds: torch.Tensor) -> None:
        """List the positions of each fold's rows; ``folds`` are ``(rows,)``."""
        self._rows, n_folds = rows, int(folds.max()) + 1
        self._positions = [(folds == fold).nonzero().flatten().int() for fold in range(n_folds)]

    @torch.inference_mode()
    def evaluate(self, ensemble: Ensemble, *, calibrate: bool) -> Scores:
        """Compute loss and accuracy of the mean logits of the members that leave a row out.

        Rows are standardised and sent to the ensemble's device block by block. With ``calibrate``
        the loss is that at the temperature where it is lowest.
        """
        device = next(ensemble.parameters()).device
        features, labels, scale = self._rows.features, self._rows.labels, self._rows.scale
        logits = []
        for fold, positions in enumerate(self._positions):
            members = range(fold, ensemble.members, len(self._positions))
            for at in torch.split(positions, BLOCK_ROWS):
                block = _standardise(features.index_select(0, at), scale).to(device)
                first, *others = (ensemble.member_logits(each, block) for each in members)
                logits.append((sum(others, first) / len(members)).to(labels.device))
        labels = labels.index_select(0, torch.cat(self._positions))
        return score_logits(torch.cat(logits), labels, calibrate=calibrate)


def _standardise(features: torch.Tensor, scale: Standardisation | None) -> torch.Tensor:
    return scale.apply(features) if scale else features
