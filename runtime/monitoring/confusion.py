"""What a confusion matrix says: accuracy with its interval, precision, recall and F1.

In: counts of rows by true and answered class. Out: frozen figures, None where there is no value,
as for the precision of a class that was never answered. No errors.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from runtime.manifest import Record

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    Labels = npt.NDArray[np.int64]
    Counts = npt.NDArray[np.int64]

_NORMAL_95 = 1.959963984540054  # quantile 0.975 of the standard normal distribution


class Interval(Record, frozen=True):
    """A share with its 95 % interval, all from 0 to 1."""

    share: float
    low: float
    high: float


class ClassScore(Record, frozen=True):
    """How well one class is told: ``precision``, ``recall`` and ``f1``, 0 to 1, and its rows."""

    name: str
    rows: int
    precision: float | None
    recall: float | None
    f1: float | None


def wilson(hits: int, rows: int) -> Interval:
    """Bound a share by Wilson's score interval (Wilson, JASA 22, 1927), 95 %.

    Args:
        hits: rows that count.
        rows: all, at least 1.

    Returns:
        The share and its interval.
    """
    share, square = hits / rows, _NORMAL_95**2
    centre = (share + square / (2 * rows)) / (1 + square / rows)
    half = (
        _NORMAL_95
        * (share * (1 - share) / rows + square / (4 * rows**2)) ** 0.5
        / (1 + square / rows)
    )
    return Interval(share, max(centre - half, 0.0), min(centre + half, 1.0))


def confusion(truth: Labels, answers: Labels, classes: int) -> Counts:
    """Count rows by true class and answered class, ``(classes, classes)`` int64."""
    counts = np.bincount(truth * classes + answers, minlength=classes * classes)
    return counts.reshape(classes, classes).astype(np.int64)


def class_scores(counts: Counts, names: Sequence[str]) -> tuple[ClassScore, ...]:
    """Precision, recall and F1 of each class from a confusion matrix."""
    scores = []
    for at, name in enumerate(names):
        hits = float(counts[at, at])
        of_class, answered = int(counts[at].sum()), int(counts[:, at].sum())
        scores.append(
            ClassScore(
                name,
                of_class,
                _share(hits, answered),
                _share(hits, of_class),
                _share(2 * hits, of_class + answered),
            )
        )
    return tuple(scores)


def _share(part: float, whole: float) -> float | None:
    return part / whole if whole else None
