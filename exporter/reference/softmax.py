"""Softmax of logits with an error: probabilities and their error bound.

The bound holds for every evaluation of the form

    p_i = exp(z_i - max z) / sum_j exp(z_j - max z)

and, for two classes, by 1 / (1 + exp(z_other - z_own)): the same subtraction, exponential, sum and
division, of which no step rounds more.

The bound adds the effect of the logits' errors to the rounding of the evaluation itself. The
second part follows Blanchard, Higham and Higham, *Accurately computing the log-sum-exp and
softmax functions* (IMA Journal of Numerical Analysis 41, 2021): the rounded subtraction changes
an exponential by a factor of at most exp(u |z_j - max z|), the sum costs gamma(classes - 1), the
division one rounding, or two where it multiplies by a reciprocal.
"""

from __future__ import annotations

from functools import reduce

import numpy as np

from exporter.reference.intervals import (
    FEW_COLUMNS,
    FLOAT32,
    FLOAT64_ROUNDOFF,
    Arithmetic,
    Enclosure,
    Float64Matrix,
    row_sums,
    rows_with_all,
)

# Error allowed to an exponential, in units in the last place. Documented are 1 (glibc, SLEEF as in
# torch) and 2 (CUDA's expf); onnxruntime documents none.
EXP_ULPS = 4
# Logits with a larger error only bound probabilities to [0, 1].
_LARGEST_SHIFT = 30.0
_LARGEST_DISTANCE = 1e4  # exp(-1e4) is 0 in every arithmetic here
_OWN_ROUNDING = 1 + 2.0**-30  # the bound is computed in float64 itself


def enclose_probabilities(logits: Enclosure, arithmetic: Arithmetic = FLOAT32) -> Enclosure:
    """Evaluate softmax, ``(rows, classes)``, in float64 and bound every other evaluation.

    A row is NaN as a whole where a logit is NaN, the largest is infinite or all are negative
    infinities; it has no bound where one of its logits has none.
    """
    with np.errstate(invalid="ignore"):  # inf - inf is NaN: the result of such rows
        distance = _largest(logits.value) - logits.value  # (rows, classes), >= 0
    terms = np.exp(-distance)  # (rows, classes), the largest is 1
    value = terms / row_sums(terms)
    known = rows_with_all(np.isfinite(logits.error))  # (rows,)
    ordinary = known & rows_with_all(~np.isnan(value))  # (rows,)
    error = np.where(known[:, None], 0.0, np.full_like(value, np.inf))
    error[ordinary] = _bound(
        value[ordinary],
        np.minimum(distance[ordinary], _LARGEST_DISTANCE),
        logits.error[ordinary],
        arithmetic,
    )
    return Enclosure(value, error)


def _bound(
    value: Float64Matrix, distance: Float64Matrix, error: Float64Matrix, arithmetic: Arithmetic
) -> Float64Matrix:
    """Bound the error of ordinary rows.

    All are ``(rows, classes)``: probabilities, finite distances from the largest logit, and the
    errors of the logits.
    """
    final = arithmetic.gamma(value.shape[1] + 1)  # sum and division
    trivial = 1 + 2 * final  # a quotient of non-negative terms by their sum
    shift = np.minimum(error, _LARGEST_SHIFT)  # (rows, classes)
    propagated = _propagated(value, shift)
    lost = _lost_exponentials(distance, shift, arithmetic)
    sum_lost = row_sums(lost)  # (rows, 1)
    high = value + propagated
    # t_i / s changes by ((1 - p_i) dt_i - p_i sum of the other dt_j) / s, and s is at least 1.
    rounded = (_others(value) + propagated) * lost + high * _others(lost)
    rounded /= 1 - np.minimum(sum_lost, 0.5)
    bound = propagated + rounded + final * (high + rounded) + arithmetic.tiny
    unbounded = (_largest(error)[:, 0] > _LARGEST_SHIFT) | (sum_lost[:, 0] >= 0.5)  # noqa: PLR2004 - see above
    bound[unbounded] = trivial
    return np.minimum(bound * _OWN_ROUNDING, trivial)


def _propagated(value: Float64Matrix, shift: Float64Matrix) -> Float64Matrix:
    """Bound the effect of the logits' errors: the extremes lie in the corners of their intervals.

    ``p_i`` is largest with ``z_i`` at its upper and all others at their lower end, and vice
    versa. Written with expm1 and sums of non-negative terms, so that nothing cancels.
    """
    others = _others(value)  # (rows, classes)
    up, down = np.expm1(shift), -np.expm1(-shift)  # e^s - 1 and 1 - e^-s
    others_up, others_down = _others(value * up), _others(value * down)
    above = (up * others + others_down) / (1 + up * value - others_down)
    below = (down * others + others_up) / (1 - down * value + others_up)
    propagated: Float64Matrix = value * np.maximum(above, below)
    return propagated


def _lost_exponentials(
    distance: Float64Matrix, shift: Float64Matrix, arithmetic: Arithmetic
) -> Float64Matrix:
    """Bound the error of each ``exp(z_j - max z)``, for logits anywhere in their intervals."""
    moved = shift + _largest(shift)  # (rows, classes)
    largest = np.exp(np.minimum(moved - distance, 0.0))
    roundoff = arithmetic.unit_roundoff + FLOAT64_ROUNDOFF
    relative = np.expm1(roundoff * (distance + moved) + 2 * EXP_ULPS * roundoff)
    # Two tiny ones: the exponential may be flushed to 0, and so may a sum it enters.
    lost: Float64Matrix = largest * relative + 2 * arithmetic.tiny
    return lost


def _largest(terms: Float64Matrix) -> Float64Matrix:
    """Return each row's largest term, ``(rows, 1)``; NaN where there is one."""
    if terms.shape[1] > FEW_COLUMNS:
        return np.asarray(terms.max(axis=1, keepdims=True))
    return np.asarray(reduce(np.maximum, terms.T)[:, None])


def _others(terms: Float64Matrix) -> Float64Matrix:
    """Sum each row's other terms, ``(rows, classes)``, without subtracting."""
    sums = np.zeros_like(terms)
    sums[:, 1:] += np.cumsum(terms[:, :-1], axis=1)
    sums[:, :-1] += np.cumsum(terms[:, :0:-1], axis=1)[:, ::-1]
    return sums
