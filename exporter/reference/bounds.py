"""Error bounds of a Linear-ReLU network, derived from its weights.

The reference evaluates the float32 layers in float64. The bound on ``|computed - reference|`` of
each logit holds for every evaluation in the given arithmetic, whatever the order of its sums, with
or without fused multiply-adds, with or without denormals.

For one layer, ``n`` inputs, exact inputs ``x`` and computed inputs within ``e`` of them:

    |computed - exact| <= gamma(n + 1) (|W| (|x| + e) + |b|) + |W| e + underflow

and, where both factors of a product are rounded before they are multiplied, each by at most v,

    |computed - exact| <= gamma(n + 1) ((1 + v)^2 |W| (|x| + e) + |b|)
                          + (2 v + v^2) |W| (|x| + e) + |W| e + underflow

The error of the first layer's inputs is that of ``preprocessing``. The first term is Higham,
*Accuracy and Stability of Numerical Algorithms* (2nd edition), section 3.1: each of the n products
and the bias passes through at most n + 1 roundings in any order of summation. The second is the
error propagated from the layers before. ReLU moves two numbers no further apart, and sets both to 0
where the upper end of the interval is not positive. In deep networks ``sharpening`` keeps these
terms from growing with each layer.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from exporter.reference.intervals import (
    FLOAT32,
    FLOAT64_ROUNDOFF,
    Enclosure,
    gamma,
    row_sums,
    rows_with_all,
)
from exporter.reference.preprocessing import NO_PREPROCESSING
from exporter.reference.sharpening import LayerEnclosure, sharpen

if TYPE_CHECKING:
    from collections.abc import Sequence

    from exporter.reference.intervals import Arithmetic, Float64Matrix
    from exporter.reference.layers import Layer
    from exporter.reference.preprocessing import Preprocessing
    from runtime.schema.features import Float32Matrix

# The bound is computed in float64 too, from non-negative terms: this covers its own roundings.
_OWN_ROUNDING = 1 + 2.0**-30
_OVERFLOW_MARGIN = 2.0**-4  # of the largest number
_MIN_DEPTH = 3  # layers: with fewer, only one layer's errors pass through weights, and none cancel


def enclose_logits(
    layers: Sequence[Layer],
    features: Float32Matrix,
    arithmetic: Arithmetic = FLOAT32,
    preprocessing: Preprocessing = NO_PREPROCESSING,
) -> Enclosure:
    """Evaluate the logits, ``(rows, outputs)``, in float64 and bound every other evaluation."""
    current = preprocessing.enclose(features)  # (rows, inputs)
    enclosed = []
    for position, layer in enumerate(layers):
        if position:
            current = enclose_relu(current)
        size = np.abs(current.value) + current.error  # (rows, inputs)
        # No layer comes before the first: errors of its inputs count as its own.
        own = np.zeros_like(size) if position else current.error  # (rows, inputs)
        current = enclose_linear(layer, current, arithmetic)
        if len(layers) >= _MIN_DEPTH:
            with np.errstate(invalid="ignore", over="ignore"):  # special values stay what they are
                rounded = _round(layer, size, own, arithmetic)
            enclosed.append(LayerEnclosure(layer, current, rounded))
    if not enclosed:
        return current
    # An error that is infinite, or 0 for a special value, stays as it is.
    narrow = np.fmin(current.error, sharpen(enclosed))
    return Enclosure(current.value, np.where(np.isfinite(current.error), narrow, np.inf))


def enclose_linear(layer: Layer, inputs: Enclosure, arithmetic: Arithmetic = FLOAT32) -> Enclosure:
    """Evaluate one layer, ``(rows, outputs)``, in float64 and bound every other evaluation."""
    weight = layer.weight.astype(np.float64)  # (outputs, inputs)
    bias = layer.bias.astype(np.float64)  # (outputs,)
    size = np.abs(inputs.value) + inputs.error  # (rows, inputs), largest possible magnitude
    if _is_far_from_overflow(layer, size, arithmetic):  # the common case, several times faster
        error = _round(layer, size, inputs.error, arithmetic)
        if error.max(initial=0.0) < arithmetic.largest / 2:
            return Enclosure(inputs.value @ weight.T + bias, error)

    finite = np.isfinite(inputs.value)
    known = rows_with_all(np.isfinite(inputs.error))[:, None]  # (rows, 1)
    value = np.where(finite, inputs.value, 0.0)  # (rows, inputs)
    propagated = np.where(finite & known, inputs.error, 0.0)  # (rows, inputs)
    size = np.abs(value) + propagated
    error = _round(layer, size, propagated, arithmetic)  # (rows, outputs)
    magnitude = size @ np.abs(weight).T + np.abs(bias)  # (rows, outputs)
    # A factor beyond the largest number becomes infinite, whatever it is multiplied by.
    readable = (np.abs(weight) <= arithmetic.largest).all(axis=1)  # (outputs,)
    known &= rows_with_all(size <= arithmetic.largest)[:, None]
    may_overflow = ~(magnitude + error < arithmetic.largest) | ~readable
    error[may_overflow | ~known] = np.inf
    exact = value @ weight.T + bias  # (rows, outputs)
    return _with_specials(Enclosure(exact, error), weight, inputs.value)


def _is_far_from_overflow(layer: Layer, size: Float64Matrix, arithmetic: Arithmetic) -> bool:
    """Return whether no input is special and no intermediate sum is close to overflow."""
    limit = _OVERFLOW_MARGIN * arithmetic.largest
    largest = float(size.max(initial=0.0))  # NaN where there is one
    weight = np.abs(layer.weight.astype(np.float64))  # (outputs, inputs)
    if not (largest < limit and weight.max() < limit):
        return False
    sums = largest * weight.sum(axis=1) + np.abs(layer.bias)  # (outputs,)
    return bool(sums.max() < limit)


def _round(
    layer: Layer, size: Float64Matrix, propagated: Float64Matrix, arithmetic: Arithmetic
) -> Float64Matrix:
    """Bound a layer's rounding, flushed denormals and propagated errors, ``(rows, outputs)``.

    ``size`` is the largest magnitude of the computed inputs, ``propagated`` their error, both
    ``(rows, inputs)``. Flushing reads a tiny factor as 0, or sets a tiny result to 0.
    """
    weight = np.abs(layer.weight.astype(np.float64))  # (outputs, inputs)
    bias = np.abs(layer.bias.astype(np.float64))  # (outputs,)
    terms = weight.shape[1] + 1
    rounding = arithmetic.gamma(terms) + gamma(FLOAT64_ROUNDOFF, terms)
    rounded = arithmetic.product_roundoff  # of the factors
    results = 2 * weight.shape[1] + 2  # n products, n sums, the bias read and added
    # Doubled: an early loss passes through the later roundings too.
    flushed = 2 * arithmetic.tiny
    share = (rounding * (1 + rounded) + rounded) * size + propagated  # (rows, inputs)
    error: Float64Matrix = share @ weight.T  # (rows, outputs)
    error += rounding * bias + flushed * (weight.sum(axis=1) + results)
    error += flushed * row_sums(size)
    error *= _OWN_ROUNDING
    return error


def _with_specials(outputs: Enclosure, weight: Float64Matrix, inputs: Float64Matrix) -> Enclosure:
    """Add the NaN and infinities that special inputs cause, as IEEE 754 defines them.

    A sum is NaN when it has a NaN, an infinity times 0, or infinities of both signs; with
    infinities of one sign it is infinite. No order of summation changes that, so the error is 0.
    """
    rows = np.flatnonzero(~rows_with_all(np.isfinite(inputs)))
    if not rows.size:
        return outputs
    special = inputs[rows, None, :]  # (special rows, 1, inputs)
    with np.errstate(invalid="ignore"):
        # Not a matrix product: BLAS may skip zeros.
        sums = np.where(np.isfinite(special), 0.0, special * weight).sum(
            axis=2
        )  # (special rows, outputs)
    has_special = ~np.isfinite(sums) & np.isfinite(outputs.error[rows])
    outputs.value[rows] = np.where(has_special, sums, outputs.value[rows])
    outputs.error[rows] = np.where(has_special, 0.0, outputs.error[rows])
    return outputs


def enclose_relu(inputs: Enclosure) -> Enclosure:
    """Set negative values to 0, and their errors where no evaluation can be positive."""
    # np.maximum keeps NaN, as torch and the ONNX specification do.
    value = np.maximum(inputs.value, 0.0)
    reach = np.maximum(inputs.value + inputs.error, 0.0)
    if np.isfinite(reach).all():  # the common case
        return Enclosure(value, np.minimum(inputs.error, reach))
    reach = np.where(np.isfinite(inputs.value), reach, 0.0)
    error = np.where(np.isinf(inputs.error), np.inf, np.minimum(inputs.error, reach))
    return Enclosure(value, error)
