"""Seeds of independent random streams, derived from the one seed of a run."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Literal

from runtime.errors import UsageError

if TYPE_CHECKING:
    import torch

DEFAULT_SEED = 1  # a typical one: both presets end near their median over seeds
MAX_SEED = 2**63 - 1

Purpose = Literal["products", "weights", "order", "split", "validation", "folds", "tuning"]


def derive_seed(seed: int, purpose: Purpose, index: int = 0) -> int:
    """Derive the seed of one random stream, 0 to 2**63 - 1; ``index`` may be the epoch.

    A hash, because torch's CPU generator uses only the low 32 bits of a seed.
    """
    digest = hashlib.sha256(f"onnxferry/{purpose}/{seed}/{index}".encode()).digest()
    return int.from_bytes(digest[:8], "little") & MAX_SEED


def check_seed(seed: int) -> None:
    """Refuse a seed outside the range that every generator accepts."""
    if not 0 <= seed <= MAX_SEED:
        raise UsageError(f"the seed must be from 0 to {MAX_SEED}, got {seed}")


def epoch_generator(seed: int, epoch: int) -> torch.Generator:
    """Make the generator of one epoch; torch's ``RandomSampler`` with it gives the same order."""
    import torch  # here, so that the command line starts without it

    generator = torch.Generator()
    generator.manual_seed(derive_seed(seed, "order", epoch))
    return generator


def shuffle_rows(seed: int, epoch: int, rows: int) -> torch.Tensor:
    """Draw an epoch's permutation of the rows, ``(rows,)`` int32, from seed and epoch alone."""
    import torch

    return torch.randperm(rows, generator=epoch_generator(seed, epoch), dtype=torch.int32)
