"""Find equal rows by their hashes.

In: rows. Out: hashes, and which rows have a twin. No errors. Two different rows share a hash of
64 bits by chance alone: among a million rows with a probability of 3 in 100 million.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from trainer.table.split import mix

if TYPE_CHECKING:
    import numpy.typing as npt

    from runtime.schema import Float32Matrix

    Hashes = npt.NDArray[np.uint64]


def hash_rows(features: Float32Matrix) -> Hashes:
    """Hash rows, ``(rows, n)`` float32 to ``(rows,)`` uint64; zero is the same with any sign."""
    hashes = np.zeros(len(features), dtype=np.uint64)
    for values in features.T:
        bits = (values + np.float32(0)).view(np.uint32)
        hashes = mix(hashes + bits + np.uint64(1))
    return hashes


def find_twins(hashes: Hashes) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.bool_]]:
    """Find for each row the first one that is equal to it.

    Args:
        hashes: of the rows, ``(rows,)``.

    Returns:
        ``(rows,)`` int64, the first row of the same hash, and ``(rows,)`` bool, true where that
        is another row.
    """
    _, firsts, places = np.unique(hashes, return_index=True, return_inverse=True)
    first = firsts[places].astype(np.int64)
    return first, first != np.arange(len(hashes))
