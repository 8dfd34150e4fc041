"""A sharper bound for deep networks: what a layer rounds, seen through the layers that follow.

In: the layers, and for each what it rounds and the enclosure that the plain bound gives it. Out:
bounds on the logits. No errors.

The plain bound multiplies absolute values from layer to layer, as if every error came with the
worst sign everywhere. But a network is linear where no unit switches: an error d of a layer's sums
arrives at the logits as N d, with N the product of the weights that follow, rows of inactive units
set to 0. So with r what the layers round by themselves,

    |computed - exact| <= r(last) + sum over the layers before of |N D| r

where D is 1 for a unit that every evaluation switches on and 0 for one that none does. Between
them, ReLU passes on a share from 0 to 1 of an error that is at most e: 1/2 of it, and at most e / 2
more,

    + |N| e / 2 where a unit may switch.

This is the running error analysis of Higham, *Accuracy and Stability of Numerical Algorithms* (2nd
edition), section 3.3, with the derivative in place of its absolute value. N itself is computed in
float64: what that rounds is bounded by norms and added.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from exporter.truth.arithmetic import FLOAT64_ROUNDOFF, gamma

if TYPE_CHECKING:
    from collections.abc import Sequence

    from exporter.truth.enclosure import Enclosure, Float64Matrix
    from exporter.truth.layer import Layer

_NUMBERS = 2**21  # of N at a time: 16 MiB
_OWN_ROUNDING = 1 + 2.0**-30


@dataclass(frozen=True)
class Step:
    """One layer's sums, before ReLU.

    Attributes:
        layer: with its bias.
        sums: ``(rows, outputs)``, the plain enclosure.
        rounded: ``(rows, outputs)`` float64, what the layer rounds by itself.
    """

    layer: Layer
    sums: Enclosure
    rounded: Float64Matrix


def sharpen(steps: Sequence[Step]) -> Float64Matrix:
    """Bound the error of the logits.

    Args:
        steps: from input to output; the last one's sums are the logits.

    Returns:
        ``(rows, classes)`` float64; NaN or infinite where the plain bound has no more to say.
    """
    error = np.empty_like(steps[-1].rounded)  # (rows, classes)
    widest = max(step.layer.weight.shape[1] for step in steps[1:])
    at_once = max(1, _NUMBERS // (error.shape[1] * widest))
    with np.errstate(invalid="ignore", over="ignore"):  # where the plain bound is infinite
        for start in range(0, len(error), at_once):
            rows = slice(start, start + at_once)
            error[rows] = _follow(steps, rows)
    return error


def _follow(steps: Sequence[Step], rows: slice) -> Float64Matrix:
    """Follow each layer's errors to the logits of some rows, from the last layer back."""
    last = steps[-1]
    error = last.rounded[rows].copy()  # (rows, classes)
    through = last.layer.weight.astype(np.float64)[None]  # (rows or 1, classes, inputs)
    norm, roundings = _norm(last.layer), _length(last.layer)
    for step in reversed(steps[:-1]):
        value, reach = step.sums.value[rows], step.sums.error[rows]  # (rows, outputs)
        may_switch = np.abs(value) <= reach
        passes = np.where(may_switch, 0.5, value > 0)  # (rows, outputs)
        open_half = np.where(may_switch, 0.5 * reach, 0.0)
        error += _through(np.abs(through), open_half)
        through = through * passes[:, None, :]
        rounded = step.rounded[rows]
        error += _through(np.abs(through), rounded)
        largest = (rounded + reach).max(axis=1, initial=0.0)[:, None]  # (rows, 1)
        error += gamma(FLOAT64_ROUNDOFF, roundings) * norm * largest
        if step is not steps[0]:
            through = through @ step.layer.weight.astype(np.float64)
            norm, roundings = norm * _norm(step.layer), roundings + _length(step.layer)
    return np.asarray(error * _OWN_ROUNDING)


def _through(matrices: Float64Matrix, errors: Float64Matrix) -> Float64Matrix:
    """Multiply a matrix a row with the row's errors: ``(rows, classes)``."""
    return np.asarray((matrices @ errors[:, :, None])[:, :, 0])


def _norm(layer: Layer) -> float:
    """The largest sum of a row's absolute values: no error grows more in any output."""
    return float(np.abs(layer.weight.astype(np.float64)).sum(axis=1).max())


def _length(layer: Layer) -> int:
    return int(layer.weight.shape[1]) + 2  # products, sums, and what is set to 0 or halved
