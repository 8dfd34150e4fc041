"""How good a network is on rows that it does not learn from.

In: a network and rows. Out: a ``Judgement``. No errors.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch.nn import functional

if TYPE_CHECKING:
    from trainer.model import SimpleNet
    from trainer.preparation import Part

_ROWS_AT_ONCE = 8192  # their hidden layer stays in the cache, and small beside a large table


@dataclass(frozen=True)
class Judgement:
    """How good a network is on some rows.

    Attributes:
        loss: mean cross-entropy.
        accuracy: share of rows labelled correctly, 0 to 1.
    """

    loss: float
    accuracy: float


@torch.inference_mode()
def judge(model: SimpleNet, part: Part) -> Judgement:
    """Judge a network.

    Args:
        model: on the rows' device.
        part: rows.

    Returns:
        Its loss and accuracy.
    """
    labels = part.labels
    blocks = [model(block) for block in torch.split(part.features, _ROWS_AT_ONCE)]
    logits = blocks[0] if len(blocks) == 1 else torch.cat(blocks)  # (rows, classes)
    hits = (logits.argmax(dim=1) == labels).sum()
    loss = functional.cross_entropy(logits, labels)
    return Judgement(loss.item(), hits.item() / len(labels))
