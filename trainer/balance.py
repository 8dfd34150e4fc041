"""How much a row of each class counts in the loss.

In: labels. Out: weights of classes, or None when all rows count the same. No errors.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

    from trainer.config import ClassWeights


def weigh_classes(labels: torch.Tensor, n_classes: int, kind: ClassWeights) -> torch.Tensor | None:
    """Weigh the classes.

    Args:
        labels: of the rows to learn from, ``(rows,)`` int64.
        n_classes: number of classes.
        kind: balanced gives a class the weight rows / (classes * its rows), so that every class
            counts the same and the mean weight of a row is 1; a class without rows gets 0.

    Returns:
        ``(n_classes,)`` float32, or None.
    """
    if kind == "none":
        return None
    counts = labels.bincount(minlength=n_classes).double()  # (n_classes,)
    weights = len(labels) / (n_classes * counts)
    weights[counts == 0] = 0.0
    return weights.float()
