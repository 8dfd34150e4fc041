"""Seeds for every purpose, derived from the one seed of a run.

In: the run's seed. Out: seeds of streams that have nothing to do with each other, so that the
data, the initial weights and each epoch's order of rows can be drawn again on their own.
"""

from __future__ import annotations

import hashlib
from typing import Literal

from runtime.errors import UsageError

DEFAULT_SEED = 1  # a typical one: both presets end near their median over seeds
MAX_SEED = 2**63 - 1

Purpose = Literal["products", "weights", "order", "split", "validation"]


def derive_seed(seed: int, purpose: Purpose, index: int = 0) -> int:
    """Derive the seed of one stream of random numbers.

    The derivation is a hash: torch's CPU generator takes the low 32 bits of a seed only, and
    here all 63 have a say in them.

    Args:
        seed: the run's seed.
        purpose: what is drawn.
        index: which of several streams of that purpose, for example the epoch.

    Returns:
        A seed from 0 to 2**63 - 1.
    """
    digest = hashlib.sha256(f"onnxferry/{purpose}/{seed}/{index}".encode()).digest()
    return int.from_bytes(digest[:8], "little") & MAX_SEED


def check_seed(seed: int) -> None:
    """Refuse a seed outside the range that every generator takes.

    Args:
        seed: the run's seed.

    Raises:
        UsageError: when it is outside 0..2**63 - 1.
    """
    if not 0 <= seed <= MAX_SEED:
        raise UsageError(f"the seed must be from 0 to {MAX_SEED}, got {seed}")
