"""Temperature scaling (Guo et al., On Calibration of Modern Neural Networks, ICML 2017)."""

from __future__ import annotations

import math

import torch

# Rows that are all predicted right would have any: a lower one than that is not believed.
_LOWEST, _HIGHEST = 0.25, 16.0
_MAX_ROWS = 2**14  # more do not change it
_ITERATIONS, _TOLERANCE = 50, 1e-9


def best_temperature(logits: torch.Tensor, labels: torch.Tensor) -> float:
    """Find the temperature whose division of the logits has the lowest mean cross-entropy.

    The loss is convex in the inverse of the temperature, so that its derivative has one root,
    found in float64 by Newton's steps within a bracket.

    Args:
        logits: ``(rows, classes)``; of many rows some at equal distances are used.
        labels: ``(rows,)`` int64.

    Returns:
        The temperature, 0.25 to 16.
    """
    step = -(-len(labels) // _MAX_ROWS)
    scores, labels = logits[::step].double().t().contiguous(), labels[::step]  # (classes, rows)
    target = scores.gather(0, labels[None]).mean()

    def differentiate(factor: float) -> tuple[float, float]:
        """Compute both derivatives of the loss by a factor of the logits."""
        weighted = torch.softmax(scores * factor, dim=0) * scores
        means = weighted.sum(dim=0)  # (rows,)
        curvature = (weighted * scores).sum(dim=0) - means**2  # (rows,)
        return float(means.mean() - target), float(curvature.mean())

    low, high, factor = 1 / _HIGHEST, 1 / _LOWEST, 1.0
    if differentiate(high)[0] <= 0:
        return _LOWEST
    if differentiate(low)[0] >= 0:
        return _HIGHEST
    for _ in range(_ITERATIONS):
        slope, curvature = differentiate(factor)
        low, high = (low, factor) if slope > 0 else (factor, high)
        newton = factor - slope / curvature if curvature > 0 else math.nan
        following = newton if low < newton < high else math.sqrt(low * high)
        if abs(following - factor) <= _TOLERANCE * factor:
            break
        factor = following
    return 1 / factor
