"""Choose the golden rows that travel in a bundle.

In: the rows of a proof and what asks the oracle. Out: ``runtime.bundle.golden.Golden``. No errors.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from runtime.bundle.golden import Golden

if TYPE_CHECKING:
    from exporter.rows.blocks import ProofRows
    from exporter.truth.oracle import Ask

_CHOICE = {"known": 16, "corners": 8, "edges": 4, "uniform": 8}


def choose_golden(rows: ProofRows, ask: Ask) -> Golden:
    """Take a few dozen rows inside the ranges, with exact answers and bounds.

    Args:
        rows: of the proof.
        ask: gives the oracle's answers for rows.

    Returns:
        The first rows of each block; all of them finite and bounded once the proof has passed.
    """
    blocks = [rows.block(name) for name in _CHOICE]
    chosen = np.concatenate(
        [
            np.arange(block.start, min(block.stop, block.start + count))
            for block, count in zip(blocks, _CHOICE.values(), strict=True)
        ]
    )
    features = rows.features[chosen]
    oracle = ask(features)
    return Golden(
        features=features,
        label=oracle.label,
        probabilities=oracle.probabilities.value,
        logits=oracle.logits.value,
        probabilities_bound=oracle.probabilities.error,
        logits_bound=oracle.logits.error,
        decidable=oracle.decidable,
    )
