"""Which training rows are kept back to choose the best epoch by: a function of seed and labels.

In: labels, a share and a seed. Out: positions of rows, or a ``DataError``.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from runtime.errors import DataError
from trainer.seeds import derive_seed


@dataclass(frozen=True)
class Parts:
    """Training rows by what they are for.

    Attributes:
        learned: positions of rows to learn from, ``(rows,)`` int32, ascending.
        held: positions of rows to judge epochs by, likewise.
    """

    learned: torch.Tensor
    held: torch.Tensor


def hold_out(labels: torch.Tensor, share: float, seed: int) -> Parts:
    """Keep back the same share of every class, drawn by the seed.

    Args:
        labels: ``(rows,)`` int64.
        share: above 0 and below 1; of each class it is rounded to whole rows.
        seed: the run's seed.

    Returns:
        Both parts.

    Raises:
        DataError: when one of them would be empty.
    """
    generator = torch.Generator()
    generator.manual_seed(derive_seed(seed, "validation"))
    drawn = torch.randperm(len(labels), generator=generator)
    by_class = drawn[labels[drawn].argsort(stable=True)]  # (rows,) class after class, each drawn
    counts = labels.bincount()  # (classes,)
    first = (counts.cumsum(0) - counts).repeat_interleave(counts)  # (rows,)
    place = torch.arange(len(labels)) - first  # (rows,) within its class
    wanted = (counts.double() * share).round().repeat_interleave(counts)
    held = place < wanted
    parts = Parts(*(by_class[part].sort().values.int() for part in (~held, held)))
    if min(len(parts.learned), len(parts.held)) == 0:
        raise DataError(
            f"--validation {share} of {len(labels):,} training rows leaves no row to "
            f"{'judge' if len(parts.held) == 0 else 'learn'} by; give another share, or more rows"
        )
    return parts
