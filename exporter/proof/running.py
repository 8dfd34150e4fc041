"""Run a contender on rows, batch by batch, and compare answers bit by bit.

In: what answers a batch, and rows. Out: the answers for all rows, or a ``ParityError`` where an
answer has another shape or dtype than the contract's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from runtime.errors import ParityError
from runtime.session import Outputs

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import numpy.typing as npt

    from runtime.schema.features import Float32Matrix

_FIRST = 1024
_OUTPUTS = ("label", "probabilities", "logits")


def run_in_batches(
    answer: Callable[[Float32Matrix], Outputs], features: Float32Matrix, batch: int, classes: int
) -> Outputs:
    """Run all rows, in order, the last batch short.

    Args:
        answer: runs one batch.
        features: ``(rows, n_features)`` float32; no rows are one empty batch.
        batch: rows in a batch.
        classes: columns that logits and probabilities must have.

    Returns:
        The answers for all rows.

    Raises:
        ParityError: when an answer breaks the contract.
    """
    rows = len(features)
    answers = Outputs(
        np.empty(rows, np.int64),
        np.empty((rows, classes), np.float32),
        np.empty((rows, classes), np.float32),
    )
    for start in range(0, max(rows, 1), max(batch, 1)):
        part = features[start : start + batch]
        got = answer(part)
        for name in _OUTPUTS:
            target, found = getattr(answers, name)[start : start + batch], getattr(got, name)
            if found.shape != target.shape or found.dtype != target.dtype:
                raise ParityError(
                    f"{len(part)} rows from row {start} give {name} {found.dtype} {found.shape}, "
                    f"expected {target.dtype} {target.shape}"
                )
            target[:] = found
    return answers


def have_same_logits(one: Outputs, other: Outputs) -> bool:
    """Tell whether logits have the same bits; a NaN is as good as another."""
    return _have_same_bits(one.logits, other.logits)


def are_same(one: Outputs, other: Outputs) -> bool:
    """Tell whether all outputs have the same bits; a NaN is as good as another."""
    return (
        have_same_logits(one, other)
        and _have_same_bits(one.probabilities, other.probabilities)
        and np.array_equal(one.label, other.label)
    )


def join(parts: Sequence[Outputs]) -> Outputs:
    """Put answers for some rows after one another."""
    return Outputs(*(np.concatenate([getattr(part, name) for part in parts]) for name in _OUTPUTS))


def _have_same_bits(one: npt.NDArray[np.float32], other: npt.NDArray[np.float32]) -> bool:
    for rows in (slice(_FIRST), slice(_FIRST, None)):  # differences mostly show at once
        here, there = one[rows], other[rows]
        differs = here.view(np.int32) != there.view(np.int32)
        if differs.any() and not (np.isnan(here[differs]) & np.isnan(there[differs])).all():
            return False
    return True
