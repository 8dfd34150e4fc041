"""Choose the golden rows that travel in a bundle.

In: the rows of a proof with the oracle's answers. Out: ``runtime.golden.Golden``. No errors.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from runtime.golden import Golden

if TYPE_CHECKING:
    from exporter.oracle import Oracle
    from exporter.rows import ProofRows

_CHOICE = {"known": 16, "corners": 8, "edges": 4, "uniform": 8}


def choose_golden(rows: ProofRows, oracle: Oracle) -> Golden:
    """Take a few dozen rows inside the ranges, with exact answers and bounds.

    Args:
        rows: of the proof.
        oracle: its answers for them.

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
    return Golden(
        features=rows.features[chosen],
        label=oracle.label[chosen],
        probabilities=oracle.probabilities.value[chosen],
        logits=oracle.logits.value[chosen],
        probabilities_bound=oracle.probabilities.error[chosen],
        logits_bound=oracle.logits.error[chosen],
        decidable=oracle.decidable[chosen],
    )
