"""How far a correct evaluation of a Linear-ReLU network can be from the exact one.

In: the float32 layers and float32 rows. Out: float64 logits of an oracle and, for each of them,
a bound on ``|computed - oracle|`` that every evaluation in the given arithmetic keeps, whatever
the order of its sums, with or without fused multiply-adds, with or without denormals. Sums
too long for any bound are a ``ParityError``.

For one layer, ``n`` inputs, exact inputs ``x`` and computed inputs within ``e`` of them:

    |computed - exact| <= gamma(n + 1) (|W| (|x| + e) + |b|) + |W| e + underflow

and, where both factors of a product are rounded before they are multiplied, each by at most v,

    |computed - exact| <= gamma(n + 1) ((1 + v)^2 |W| (|x| + e) + |b|)
                          + (2 v + v^2) |W| (|x| + e) + |W| e + underflow

The first term is Higham, *Accuracy and Stability of Numerical Algorithms* (2nd edition), section
3.1: each of the n products and the bias passes through at most n + 1 roundings in any order of
summation. The second is what the layers before carried in. ReLU moves two numbers no further
apart, and sets both to 0 where the upper end of the interval is not positive. For deep networks
``sharpening`` says how these terms are kept from growing with each layer.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from exporter.truth.arithmetic import FLOAT32, FLOAT64_ROUNDOFF, gamma
from exporter.truth.enclosure import Enclosure, row_sums, rows_with_all
from exporter.truth.sharpening import Step, sharpen

if TYPE_CHECKING:
    from collections.abc import Sequence

    from exporter.truth.arithmetic import Arithmetic
    from exporter.truth.enclosure import Float64Matrix
    from exporter.truth.layer import Layer
    from runtime.schema.features import Float32Matrix

# The bound is computed in float64 too, from non-negative terms: this covers its own roundings.
_OWN_ROUNDING = 1 + 2.0**-30
_FAR = 2.0**-4  # of the largest number
_DEEP = 3  # layers: with fewer, the errors of one alone pass through weights, and none cancel


def enclose_logits(
    layers: Sequence[Layer], features: Float32Matrix, arithmetic: Arithmetic = FLOAT32
) -> Enclosure:
    """Evaluate a Linear-ReLU network in float64 and bound the error of every other evaluation.

    Args:
        layers: from input to output, with ReLU between them.
        features: ``(rows, inputs)`` float32, any values.
        arithmetic: of the evaluations to bound.

    Returns:
        The logits, ``(rows, outputs)``.
    """
    value = features.astype(np.float64)  # (rows, inputs)
    current = Enclosure(value, np.zeros_like(value))
    steps = []
    for position, layer in enumerate(layers):
        if position:
            current = enclose_relu(current)
        size = np.abs(current.value) + current.error  # (rows, inputs)
        current = enclose_linear(layer, current, arithmetic)
        if len(layers) >= _DEEP:
            with np.errstate(invalid="ignore", over="ignore"):  # special values stay what they are
                rounded = _round(layer, size, np.zeros_like(size), arithmetic)
            steps.append(Step(layer, current, rounded))
    if not steps:
        return current
    # Where nothing is promised, or a special value is met exactly, it stays so.
    narrow = np.fmin(current.error, sharpen(steps))
    return Enclosure(current.value, np.where(np.isfinite(current.error), narrow, np.inf))


def enclose_linear(layer: Layer, inputs: Enclosure, arithmetic: Arithmetic = FLOAT32) -> Enclosure:
    """Evaluate one layer in float64 and bound the error of every other evaluation.

    Args:
        layer: with its bias.
        inputs: ``(rows, inputs)``, with the error they bring.
        arithmetic: of the evaluations to bound.

    Returns:
        ``(rows, outputs)``.
    """
    weight = layer.weight.astype(np.float64)  # (outputs, inputs)
    bias = layer.bias.astype(np.float64)  # (outputs,)
    size = np.abs(inputs.value) + inputs.error  # (rows, inputs), what the inputs can be at most
    if _is_far_from_overflow(layer, size, arithmetic):  # the common case, several times faster
        error = _round(layer, size, inputs.error, arithmetic)
        if error.max(initial=0.0) < arithmetic.largest / 2:
            return Enclosure(inputs.value @ weight.T + bias, error)

    finite = np.isfinite(inputs.value)
    known = rows_with_all(np.isfinite(inputs.error))[:, None]  # (rows, 1)
    value = np.where(finite, inputs.value, 0.0)  # (rows, inputs)
    carried = np.where(finite & known, inputs.error, 0.0)  # (rows, inputs)
    size = np.abs(value) + carried
    error = _round(layer, size, carried, arithmetic)  # (rows, outputs)
    magnitude = size @ np.abs(weight).T + np.abs(bias)  # (rows, outputs)
    # A factor beyond the largest number becomes infinite, whatever it is multiplied by.
    readable = (np.abs(weight) <= arithmetic.largest).all(axis=1)  # (outputs,)
    known &= rows_with_all(size <= arithmetic.largest)[:, None]
    may_overflow = ~(magnitude + error < arithmetic.largest) | ~readable
    error[may_overflow | ~known] = np.inf
    exact = value @ weight.T + bias  # (rows, outputs)
    return _with_specials(Enclosure(exact, error), weight, inputs.value)


def _is_far_from_overflow(layer: Layer, size: Float64Matrix, arithmetic: Arithmetic) -> bool:
    """Tell whether no input is special and nothing on the way comes near the largest number."""
    limit = _FAR * arithmetic.largest
    largest = float(size.max(initial=0.0))  # NaN where there is one
    weight = np.abs(layer.weight.astype(np.float64))  # (outputs, inputs)
    if not (largest < limit and weight.max() < limit):
        return False
    sums = largest * weight.sum(axis=1) + np.abs(layer.bias)  # (outputs,)
    return bool(sums.max() < limit)


def _round(
    layer: Layer, size: Float64Matrix, carried: Float64Matrix, arithmetic: Arithmetic
) -> Float64Matrix:
    """Bound what an evaluation of a layer rounds, what it flushes and what its inputs bring.

    Flushing loses a tiny factor that is read as 0, or a tiny result that is set to 0.

    Args:
        layer: with its bias.
        size: ``(rows, inputs)``, what the computed inputs can be at most.
        carried: ``(rows, inputs)``, their error.
        arithmetic: of the evaluation.

    Returns:
        ``(rows, outputs)`` float64.
    """
    weight = np.abs(layer.weight.astype(np.float64))  # (outputs, inputs)
    bias = np.abs(layer.bias.astype(np.float64))  # (outputs,)
    terms = weight.shape[1] + 1
    rounding = arithmetic.gamma(terms) + gamma(FLOAT64_ROUNDOFF, terms)
    rounded = arithmetic.product_roundoff  # of the factors
    results = 2 * weight.shape[1] + 2  # n products, n sums, the bias read and added
    # Doubled: what was lost early passes through the later roundings too.
    flushed = 2 * arithmetic.tiny
    share = (rounding * (1 + rounded) + rounded) * size + carried  # (rows, inputs)
    error: Float64Matrix = share @ weight.T  # (rows, outputs)
    error += rounding * bias + flushed * (weight.sum(axis=1) + results)
    error += flushed * row_sums(size)
    error *= _OWN_ROUNDING
    return error


def _with_specials(outputs: Enclosure, weight: Float64Matrix, inputs: Float64Matrix) -> Enclosure:
    """Put in the NaN and infinities that infinite and NaN inputs bring, as IEEE 754 says.

    A sum is NaN when it meets a NaN, an infinity times 0, or infinities of both signs; with
    infinities of one sign it is infinite. No order of summation changes that, so the error is 0.

    Args:
        outputs: from the finite inputs alone.
        weight: ``(outputs, inputs)``.
        inputs: ``(rows, inputs)``.

    Returns:
        The same with the special values, except where nothing is promised.
    """
    rows = np.flatnonzero(~rows_with_all(np.isfinite(inputs)))
    if not rows.size:
        return outputs
    met = inputs[rows, None, :]  # (special rows, 1, inputs)
    with np.errstate(invalid="ignore"):
        # Written out, as matrix products may take short cuts around zeros.
        sums = np.where(np.isfinite(met), 0.0, met * weight).sum(axis=2)  # (special rows, outputs)
    bring = ~np.isfinite(sums) & np.isfinite(outputs.error[rows])
    outputs.value[rows] = np.where(bring, sums, outputs.value[rows])
    outputs.error[rows] = np.where(bring, 0.0, outputs.error[rows])
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
