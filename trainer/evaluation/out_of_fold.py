"""Evaluation of an ensemble on its training rows, by the members that have not seen them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from trainer.evaluation.metrics import BLOCK_ROWS, Scores, score_logits

if TYPE_CHECKING:
    from trainer.data.training_data import TrainingData
    from trainer.ensemble import Ensemble


@torch.inference_mode()
def evaluate_out_of_fold(
    ensemble: Ensemble, rows: TrainingData, folds: torch.Tensor, *, calibrate: bool
) -> Scores:
    """Compute loss and accuracy of the mean logits of the members that leave a row out.

    ``folds`` are ``(rows,)``; a fold's rows are sent to the ensemble's device block by block.
    """
    device = next(ensemble.parameters()).device
    n_folds = int(folds.max()) + 1
    logits = torch.empty(len(folds), ensemble.linear_layers()[-1].weight.shape[1])
    for fold in range(n_folds):
        members = range(fold, ensemble.members, n_folds)
        for at in torch.split((folds == fold).nonzero().flatten(), BLOCK_ROWS):
            block = rows.features[at]
            block = (rows.scale.apply(block) if rows.scale else block).to(device)
            total = torch.stack([ensemble.member_logits(each, block) for each in members])
            logits[at] = total.mean(dim=0).to(logits.device)
    return score_logits(logits, rows.labels, calibrate=calibrate)
