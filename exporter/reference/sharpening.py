"""A sharper bound for deep networks: a layer's rounding errors, propagated to the logits.

The plain bound multiplies absolute values from layer to layer, as if every error had the worst
sign everywhere. But a network is linear where no unit switches: an error d of a layer's sums
reaches the logits as N d, with N the product of the weights that follow, rows of inactive units
set to 0. So with r the rounding error of each layer by itself,

    |computed - exact| <= r(last) + sum over the layers before of |N D| r

where D is 1 for a unit that every evaluation activates and 0 for one that none does. Between
them, ReLU passes a share from 0 to 1 of an error that is at most e: 1/2 of it, and at most e / 2
more,

    + |N| e / 2 where a unit may switch.

This is the running error analysis of Higham, *Accuracy and Stability of Numerical Algorithms* (2nd
edition), section 3.3, with the derivative in place of its absolute value. N itself is computed in
float64: its own rounding is bounded by norms and added.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from exporter.reference.intervals import FLOAT64_ROUNDOFF, gamma

if TYPE_CHECKING:
    from collections.abc import Sequence

    from exporter.reference.intervals import Enclosure, Float64Matrix
    from exporter.reference.layers import Layer

_NUMBERS = 2**21  # elements of N at a time: 16 MiB
_OWN_ROUNDING = 1 + 2.0**-30


@dataclass(frozen=True)
class LayerEnclosure:
    """One layer's sums, before ReLU."""

    layer: Layer
    sums: Enclosure  # (rows, outputs), the plain bound
    rounded: Float64Matrix  # (rows, outputs), the layer's own rounding error


def sharpen(enclosed: Sequence[LayerEnclosure]) -> Float64Matrix:
    """Bound the error of the logits, ``(rows, classes)``; NaN where it improves nothing."""
    error = np.empty_like(enclosed[-1].rounded)  # (rows, classes)
    widest = max(current.layer.weight.shape[1] for current in enclosed[1:])
    at_once = max(1, _NUMBERS // (error.shape[1] * widest))
    with np.errstate(invalid="ignore", over="ignore"):  # where the plain bound is infinite
        for start in range(0, len(error), at_once):
            rows = slice(start, start + at_once)
            error[rows] = _propagate(enclosed, rows)
    return error


def _propagate(enclosed: Sequence[LayerEnclosure], rows: slice) -> Float64Matrix:
    """Propagate each layer's errors to the logits of some rows, from the last layer back."""
    last = enclosed[-1]
    error = last.rounded[rows].copy()  # (rows, classes)
    jacobian = last.layer.weight.astype(np.float64)[None]  # (rows or 1, classes, inputs)
    norm, roundings = _norm(last.layer), _length(last.layer)
    for current in reversed(enclosed[:-1]):
        value, reach = current.sums.value[rows], current.sums.error[rows]  # (rows, outputs)
        may_switch = np.abs(value) <= reach
        slope = np.where(may_switch, 0.5, value > 0)  # (rows, outputs)
        half_width = np.where(may_switch, 0.5 * reach, 0.0)
        error += _apply(np.abs(jacobian), half_width)
        jacobian = jacobian * slope[:, None, :]
        rounded = current.rounded[rows]
        error += _apply(np.abs(jacobian), rounded)
        largest = (rounded + reach).max(axis=1, initial=0.0)[:, None]  # (rows, 1)
        error += gamma(FLOAT64_ROUNDOFF, roundings) * norm * largest
        if current is not enclosed[0]:
            jacobian = _multiply(jacobian, current.layer.weight.astype(np.float64))
            norm, roundings = norm * _norm(current.layer), roundings + _length(current.layer)
    return np.asarray(error * _OWN_ROUNDING)


def _multiply(matrices: Float64Matrix, weight: Float64Matrix) -> Float64Matrix:
    """Multiply each row's matrix with the weights in one product, ``(rows, classes, inputs)``."""
    stacked = matrices.reshape(-1, len(weight)) @ weight
    return stacked.reshape(*matrices.shape[:2], -1)


def _apply(matrices: Float64Matrix, errors: Float64Matrix) -> Float64Matrix:
    """Multiply each row's matrix with the row's errors, ``(rows, classes)``."""
    return np.asarray((matrices @ errors[:, :, None])[:, :, 0])


def _norm(layer: Layer) -> float:
    """Return the infinity norm of the weights: no error grows more in any output."""
    return float(np.abs(layer.weight.astype(np.float64)).sum(axis=1).max())


def _length(layer: Layer) -> int:
    return int(layer.weight.shape[1]) + 2  # products, sums, and the mask
