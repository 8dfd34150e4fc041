"""Precision and recall of each class at many thresholds, on the test rows.

In: probabilities and labels. Out: what TensorBoard's tab of PR curves draws. No errors.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt

THRESHOLDS = 201  # as in TensorBoard
_LEAST = 1e-7  # as in tensorboard/plugins/pr_curve/summary.py: no division by zero


def count_hits(
    probabilities: npt.NDArray[np.float32], is_class: npt.NDArray[np.bool_]
) -> npt.NDArray[np.float32]:
    """Count hits and errors of one class against all others.

    A row is taken for the class where its probability is at least the threshold.

    Args:
        probabilities: of the class, ``(rows,)``, 0 to 1.
        is_class: whether it is the row's own, ``(rows,)``.

    Returns:
        True and false positives, true and false negatives, precision and recall at thresholds
        from 0 to 1, ``(6, THRESHOLDS)``.
    """
    places = (np.clip(probabilities, 0, 1) * (THRESHOLDS - 1)).astype(np.int64)  # rounded down
    positives, negatives = (
        np.bincount(places[chosen], minlength=THRESHOLDS)[::-1].cumsum()[::-1].astype(np.float64)
        for chosen in (is_class, ~is_class)
    )  # (thresholds,) each, those at a threshold or above
    missed, refused = positives[0] - positives, negatives[0] - negatives
    precision = positives / np.maximum(_LEAST, positives + negatives)
    recall = positives / np.maximum(_LEAST, positives + missed)
    rows = positives, negatives, refused, missed, precision, recall
    return np.stack(rows).astype(np.float32)
