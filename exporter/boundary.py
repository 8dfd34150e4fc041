"""Rows on the boundaries between classes, where a small error changes the label.

In: a model's layers and rows on both sides. Out: pairs of neighbouring rows that the oracle gives
different labels. No errors.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from collections.abc import Sequence

    from exporter.bounds import Layer
    from runtime.schema import Float32Matrix

_MOST_PAIRS = 256
_HALVINGS = 64  # more than the bits of a float32, so that the two sides become neighbours


def bisect_boundaries(layers: Sequence[Layer], rows: Float32Matrix) -> Float32Matrix:
    """Move rows of different classes towards each other until they are neighbours.

    Args:
        layers: of the model, from input to output.
        rows: ``(rows, n_features)`` float32, finite.

    Returns:
        ``(2 * pairs, n_features)`` float32: one side of a boundary, then its neighbour, and so
        on. Empty where the model gives all rows one label.
    """
    label = _label(layers, rows)  # (rows,)
    pairs = np.flatnonzero(label[:-1] != label[1:])[:_MOST_PAIRS]
    here, there = rows[pairs], rows[pairs + 1]  # (pairs, n_features)
    side = label[pairs, None]  # (pairs, 1)
    half = np.float32(0.5)
    for _ in range(_HALVINGS):
        # Halved first: the sum of two large values would be infinite.
        middle = half * here + half * there  # (pairs, n_features)
        on_this_side = _label(layers, middle)[:, None] == side
        if ((middle == here) | (middle == there)).all():
            break
        here, there = np.where(on_this_side, middle, here), np.where(on_this_side, there, middle)
    return np.stack([here, there], axis=1).reshape(-1, rows.shape[1])


def _label(layers: Sequence[Layer], rows: Float32Matrix) -> npt.NDArray[np.intp]:
    """The oracle's label, without the bounds that it would come with."""
    values = rows.astype(np.float64)  # (rows, width)
    for position, layer in enumerate(layers):
        values = np.maximum(values, 0) if position else values
        values = values @ layer.weight.astype(np.float64).T + layer.bias
    return np.asarray(values.argmax(axis=1))
