"""Error bounds of a Linear-ReLU network, derived from its weights.

The reference evaluates the float32 layers in float64. The bound on ``|computed - reference|`` of
each logit holds for every evaluation in the given arithmetic, whatever the order of its sums, with
or without fused multiply-adds, with or without denormals.

For one layer, exact inputs ``x`` and computed inputs within ``e`` of them, of which at most ``n``
have a product with a weight that is not surely 0:

    |computed - exact| <= gamma(n + 1) (|W| (|x| + e) + |b|) + |W| e + underflow

and, where both factors of a product are rounded before they are multiplied, each by at most v,

    |computed - exact| <= gamma(n + 1) ((1 + v)^2 |W| (|x| + e) + |b|)
                          + (2 v + v^2) |W| (|x| + e) + |W| e + underflow

with ``n`` all inputs. The error of the first layer's inputs is that of ``preprocessing``. The
second term is the error propagated from the layers before. The first is Higham, *Accuracy and
Stability of Numerical Algorithms* (2nd edition), section 3.1: each of the n products and the bias
passes through at most n + 1 roundings in any order of summation. Such an order is a binary tree of
additions. A product with 0 is 0, whatever finite number the other factor is, and adding 0 rounds
nothing. So additions round only where both of their parts have one of these n products or the bias:
at most n on any path, wherever the order has the products with 0, starts sums from 0 or fills
vectors up with it. An input is surely 0 where its enclosure is 0 ± 0: an input of the network that
is 0, a bin beyond the number, a unit that ReLU turns off in every evaluation.

ReLU moves two numbers no further apart, and sets both to 0 where the upper end of the interval is
not positive. In deep networks ``sharpening`` keeps these terms from growing with each layer.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from exporter.reference.intervals import (
    FLOAT32,
    FLOAT64_ROUNDOFF,
    Enclosure,
    gamma,
    rows_with_all,
)
from exporter.reference.preprocessing import NO_PREPROCESSING
from exporter.reference.sharpening import LayerEnclosure, sharpen

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

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
        inputs = enclose_relu(current) if position else current
        current = enclose_linear(layer, inputs, arithmetic)
        if len(layers) >= _MIN_DEPTH:
            # No layer comes before the first: errors of its inputs count as its own.
            rounded = _round_alone(layer, inputs, arithmetic) if position else current.error
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
    sizes = _sizes(layer)
    size = np.abs(inputs.value) + inputs.error  # (rows, inputs), largest possible magnitude
    if _is_far_from_overflow(sizes, size, arithmetic):  # the common case, several times faster
        error = _round(sizes, size, inputs.error, arithmetic)
        if error.max(initial=0.0) < arithmetic.largest / 2:
            exact: Float64Matrix = inputs.value @ weight.T  # (rows, outputs)
            exact += bias
            return Enclosure(exact, error)

    finite = np.isfinite(inputs.value)
    known = rows_with_all(np.isfinite(inputs.error))[:, None]  # (rows, 1)
    value = np.where(finite, inputs.value, 0.0)  # (rows, inputs)
    propagated = np.where(finite & known, inputs.error, 0.0)  # (rows, inputs)
    size = np.abs(value) + propagated
    error = _round(sizes, size, propagated, arithmetic)  # (rows, outputs)
    magnitude = size @ sizes.weight.T + sizes.bias  # (rows, outputs)
    # A factor beyond the largest number becomes infinite, whatever it is multiplied by.
    readable = (sizes.weight <= arithmetic.largest).all(axis=1)  # (outputs,)
    known &= rows_with_all(size <= arithmetic.largest)[:, None]
    may_overflow = ~(magnitude + error < arithmetic.largest) | ~readable
    error[may_overflow | ~known] = np.inf
    exact = value @ weight.T + bias  # (rows, outputs)
    return _with_specials(Enclosure(exact, error), weight, inputs.value)


@dataclass(frozen=True)
class _Sizes:
    """Absolute values of a layer's parameters."""

    weight: Float64Matrix  # (outputs, inputs)
    bias: npt.NDArray[np.float64]  # (outputs,)


def _sizes(layer: Layer) -> _Sizes:
    return _Sizes(np.abs(layer.weight.astype(np.float64)), np.abs(layer.bias.astype(np.float64)))


def _is_far_from_overflow(sizes: _Sizes, size: Float64Matrix, arithmetic: Arithmetic) -> bool:
    """Return whether no input is special and no intermediate sum is close to overflow."""
    limit = _OVERFLOW_MARGIN * arithmetic.largest
    largest = float(size.max(initial=0.0))  # NaN where there is one
    if not (largest < limit and sizes.weight.max() < limit):
        return False
    sums = largest * sizes.weight.sum(axis=1) + sizes.bias  # (outputs,)
    return bool(sums.max() < limit)


def _round_alone(layer: Layer, inputs: Enclosure, arithmetic: Arithmetic) -> Float64Matrix:
    """Bound what a layer adds to the errors of its inputs, ``(rows, outputs)``."""
    size = np.abs(inputs.value) + inputs.error  # (rows, inputs)
    with np.errstate(invalid="ignore", over="ignore"):  # special values stay what they are
        return _round(_sizes(layer), size, np.zeros_like(size), arithmetic)


def _round(
    sizes: _Sizes, size: Float64Matrix, propagated: Float64Matrix, arithmetic: Arithmetic
) -> Float64Matrix:
    """Bound a layer's rounding, flushed denormals and propagated errors, ``(rows, outputs)``.

    ``size`` is the largest magnitude of the computed inputs, ``propagated`` their error, both
    ``(rows, inputs)``. Flushing reads a tiny factor as 0, or sets a tiny result to 0. A weight that
    is 0 loses nothing: it is read as 0, and its product with a finite number is 0, fused or not.
    Nor does a normal one: no engine flushes it, and rounded as a factor it stays normal. So numbers
    that a bin replaces, whose weights are 0, may be as large as they like.
    """
    weight, bias = sizes.weight, sizes.bias[:, None]
    rounding = _bound_rounding(weight, size, arithmetic)  # (rows, 1)
    rounded = arithmetic.product_roundoff  # of the factors
    results = 2 * weight.shape[1] + 2  # n products, n sums, the bias read and added
    # Doubled: an early loss passes through the later roundings too.
    flushed = 2 * arithmetic.tiny
    share = (rounding * (1 + rounded) + rounded) * size + propagated  # (rows, inputs)
    ones = np.ones((size.shape[1], 1))
    is_denormal = (weight > 0) & (weight < arithmetic.tiny)  # (outputs, inputs)
    may_vanish = np.asarray(is_denormal.any(axis=0))[:, None]  # (inputs, 1)
    inputs_lost = flushed * (size @ may_vanish)  # (rows, 1), with their weights
    others_lost = flushed * (weight @ ones + results)  # (outputs, 1)
    # One product instead of several passes over a large result.
    left = np.concatenate([share, rounding, inputs_lost, np.ones_like(rounding)], axis=1)
    right = np.concatenate([weight, bias, np.ones_like(bias), others_lost], axis=1)
    error: Float64Matrix = left @ right.T  # (rows, outputs)
    error *= _OWN_ROUNDING
    return error


def _bound_rounding(
    weight: Float64Matrix, size: Float64Matrix, arithmetic: Arithmetic
) -> Float64Matrix:
    """Bound the relative error of the terms of each row's sums, ``(rows, 1)``.

    Terms that are surely 0 do not count, except where factors are rounded: tensor cores add
    several terms at once, in ways of their own.
    """
    longest = weight.shape[1] + 1
    bound = arithmetic.gamma(longest) + gamma(FLOAT64_ROUNDOFF, longest)
    if arithmetic.factor_roundoff:
        return np.full((len(size), 1), bound)
    # NaN counts. A product is faster than sums of short rows; exact, as gamma refuses 2**24 terms.
    terms = (size != 0) @ np.ones((size.shape[1], 1), np.float32)  # (rows, 1)
    most = int(np.count_nonzero(weight, axis=1).max())  # of an output
    counted = np.minimum(terms, most).astype(np.float64) + 1
    return np.asarray(bound / longest * counted)  # gamma(k) <= k / n gamma(n) for k <= n


def _with_specials(outputs: Enclosure, weight: Float64Matrix, inputs: Float64Matrix) -> Enclosure:
    """Add the NaN and infinities that special inputs cause, as IEEE 754 defines them.

    A sum is NaN when it has a NaN, an infinity times 0, or infinities of both signs; with
    infinities of one sign it is infinite. No order of summation changes that, so the error is 0.
    """
    rows = np.flatnonzero(~rows_with_all(np.isfinite(inputs)))
    if not rows.size:
        return outputs
    sums = _sum_specials(weight, inputs[rows])  # (special rows, outputs)
    has_special = ~np.isfinite(sums) & np.isfinite(outputs.error[rows])
    outputs.value[rows] = np.where(has_special, sums, outputs.value[rows])
    outputs.error[rows] = np.where(has_special, 0.0, outputs.error[rows])
    return outputs


def _sum_specials(weight: Float64Matrix, inputs: Float64Matrix) -> Float64Matrix:
    """Sum each row's NaN and infinite products, ``(rows, outputs)``; 0 where there are none.

    Such products are counted by their kind: a product of the numbers themselves may skip zeros,
    and all terms of many rows at once would take gigabytes in a wide layer.
    """
    kinds = (inputs == np.inf, inputs == -np.inf, np.isnan(inputs))
    above, below, missing = (kind.astype(np.float32) for kind in kinds)  # (rows, inputs)
    signs = (weight > 0, weight < 0, weight == 0)
    positive, negative, zero = (sign.T.astype(np.float32) for sign in signs)  # (inputs, outputs)
    rises = above @ positive + below @ negative > 0  # (rows, outputs)
    falls = above @ negative + below @ positive > 0
    undefined = (above + below) @ zero + missing.sum(axis=1, keepdims=True) > 0
    found = [undefined | (rises & falls), rises, falls]
    return np.select(found, [np.nan, np.inf, -np.inf], 0.0)


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
