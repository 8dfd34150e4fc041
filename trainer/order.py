"""The order in which an epoch visits the rows: a function of (seed, epoch) and nothing else.

So a run can be taken up again at any epoch. The draws are those of torch's ``RandomSampler``
with ``epoch_generator(seed, epoch)``; a plain DataLoader with it sees the rows in this order.
"""

from __future__ import annotations

import torch

from trainer.seeds import derive_seed


def epoch_generator(seed: int, epoch: int) -> torch.Generator:
    """A CPU generator for one epoch's order.

    Args:
        seed: the run's seed.
        epoch: from 0.

    Returns:
        A new generator.
    """
    generator = torch.Generator()
    generator.manual_seed(derive_seed(seed, "order", epoch))
    return generator


def row_order(seed: int, epoch: int, rows: int) -> torch.Tensor:
    """Draw the order of rows of one epoch.

    Args:
        seed: the run's seed.
        epoch: from 0.
        rows: number of training rows.

    Returns:
        ``(rows,)`` int32 on the CPU, a permutation of ``0..rows - 1``.
    """
    return torch.randperm(rows, generator=epoch_generator(seed, epoch), dtype=torch.int32)
