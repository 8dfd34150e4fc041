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

    from runtime.schema.features import Float32Matrix

    Hashes = npt.NDArray[np.uint64]


def hash_rows(features: Float32Matrix) -> Hashes:
    """Hash rows, ``(rows, n)`` float32 to ``(rows,)`` uint64; zero is the same with any sign."""
    hashes = np.zeros(len(features), dtype=np.uint64)
    for values in features.T:
        bits = (values + np.float32(0)).view(np.uint32)
        hashes = mix(hashes + bits + np.uint64(1))
    return hashes


class Twins:
    """Rows that are equal.

    Attributes:
        first: ``(rows,)`` int64, the first row that is equal to each; itself where there is none
            before it.
    """

    def __init__(self, hashes: Hashes) -> None:
        """Look for them.

        Args:
            hashes: of the rows, ``(rows,)``.
        """
        order = np.argsort(hashes, kind="stable")
        self._ordered = hashes[order]
        begins = np.append(True, self._ordered[1:] != self._ordered[:-1])[: len(order)]
        starts = np.flatnonzero(begins)
        self.first = np.empty(len(order), dtype=np.int64)
        self.first[order] = np.repeat(order[starts], np.diff(starts, append=len(order)))

    def count_among(self, hashes: Hashes) -> int:
        """Count the rows of another table that are equal to one of these."""
        places = np.searchsorted(self._ordered, hashes)
        found = self._ordered[np.minimum(places, len(self._ordered) - 1)]
        return int(np.count_nonzero(found == hashes))
