"""Rows on the boundaries between classes, where a small error changes the label.

In: what tells a row's label, and rows. Out: pairs of neighbouring rows with different labels. No
errors.
"""

from __future__ import annotations

from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from exporter.truth.truth import LabelOf, Labels
    from runtime.schema.features import Float32Matrix

_SEED = 20_240_301
_HALVINGS = 64  # more than the bits of a float32, so that the two sides become neighbours


def bisect_boundaries(label_of: LabelOf, rows: Float32Matrix, *, most: int) -> Float32Matrix:
    """Move rows of different classes towards each other until they are neighbours.

    Every pair of classes that the rows meet starts with as many rows as every other. Between two
    classes may lie a third: the neighbours that are found tell the first class from whatever
    borders on it.

    Args:
        label_of: tells the label of rows.
        rows: ``(rows, n_features)`` float32, finite.
        most: rows to return, at most.

    Returns:
        ``(2 * pairs, n_features)`` float32: one side of a boundary, then its neighbour, and so
        on, the pairs of classes in turn. Empty where all rows have one label.
    """
    first, second = _choose_pairs(label_of(rows), most // 2)
    here, there = rows[first], rows[second]  # (pairs, n_features)
    side = label_of(here)[:, None] if len(here) else np.empty((0, 1))  # (pairs, 1)
    half = np.float32(0.5)
    for _ in range(_HALVINGS if len(here) else 0):
        # Halved first: the sum of two large values would be infinite.
        middle = half * here + half * there  # (pairs, n_features)
        if ((middle == here) | (middle == there)).all():
            break
        on_this_side = label_of(middle)[:, None] == side
        here, there = np.where(on_this_side, middle, here), np.where(on_this_side, there, middle)
    return np.stack([here, there], axis=1).reshape(-1, rows.shape[1])


def _choose_pairs(labels: Labels, most: int) -> tuple[Labels, Labels]:
    """Positions of rows with different labels, ``(pairs,)`` each: two classes, the next two, ..."""
    members = [np.flatnonzero(labels == label) for label in np.unique(labels)]
    classes = list(combinations(range(len(members)), 2))[:most]
    generator = np.random.default_rng(_SEED)
    chosen = np.empty((2, most if classes else 0), np.intp)
    for position, pair in enumerate(classes):
        for side, label in enumerate(pair):
            count = len(range(position, most, len(classes)))
            chosen[side, position :: len(classes)] = generator.choice(members[label], count)
    return chosen[0], chosen[1]
