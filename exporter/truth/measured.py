"""The truth of a network that no bound is derived for: the module itself, run in float64.

In: a module of class scores and rows inside the ranges. Out: a ``Truth`` that is marked as
*measured*. Modules that cannot be measured are a ``UsageError``.

The exact logits are those of the module in float64. What a correct float32 evaluation may be off
was measured on the module itself: ``SPARE`` times the largest error of PyTorch's own float32
evaluation over rows inside the ranges, in proportion to the logits where those are larger than
any seen there. That is evidence, not a bound: a row that is harder than all that were measured
may leave it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

from exporter.truth.arithmetic import FLOAT32
from exporter.truth.enclosure import Enclosure, rows_with_all
from exporter.truth.oracle import answer_from
from exporter.truth.softmax import enclose_probabilities
from exporter.truth.truth import Captured, Truth
from exporter.truth.widening import widen
from runtime.errors import UsageError

if TYPE_CHECKING:
    from torch.export import ExportedProgram

    from exporter.rows.draws import Ranges
    from exporter.truth.enclosure import Float64Matrix
    from exporter.truth.oracle import Oracle
    from exporter.truth.truth import Labels
    from runtime.schema.features import Float32Matrix

# Another order of summation may round more often than PyTorch's, by the square root of the terms
# and more; weights in half precision are off by thousands of times.
SPARE = 16
# What a row costs more than in a chain of layers: the module itself runs twice for every answer of
# the oracle, once of it in float64, and functions like exp take longer than a product.
_COST = 8
_PIECE = 1024  # rows evaluated at a time
_SAME = 2.0**-30  # float64 answers of a row differ less than this from batch to batch, relatively
_COMPARED = 64  # rows asked one by one


def measure(
    model: torch.nn.Module, program: ExportedProgram, sample: Float32Matrix, ranges: Ranges
) -> Truth:
    """Measure what a module computes and how exactly.

    Args:
        model: maps ``(batch, n_features)`` to logits ``(batch, classes)``; on the CPU, in
            evaluation mode, float32.
        program: as the module was captured, with the contract's outputs, to tell of a failure
            where in the graph it comes from.
        sample: ``(rows, n_features)`` float32 inside the ranges, to measure the tolerance on.
        ranges: seen in training.

    Returns:
        Its truth, marked as measured.

    Raises:
        UsageError: when it does not compute in float64, not each row for itself, or not all rows.
    """
    exact = _in_float64(model, sample)
    got = _answer(model, sample, torch.float32)
    expected = _answer(exact, sample, torch.float64)
    with np.errstate(invalid="ignore"):  # inf - inf: not finite, and not counted
        error = np.abs(got - expected)
    largest = float(np.abs(expected).max(initial=0.0, where=np.isfinite(expected)))
    worst = float(error.max(initial=0.0, where=np.isfinite(error)))
    worst = max(worst, FLOAT32.unit_roundoff * largest, FLOAT32.tiny)
    measured = _Measured(model, exact, ranges, SPARE * worst, max(largest, FLOAT32.tiny))
    return Truth(
        tolerance="measured",
        ask=measured.ask,
        label_of=measured.label_of,
        products=_COST * _count_products(model, sample[:_COMPARED]),
        captured=Captured(program, sample[:_COMPARED]),
    )


@dataclass(frozen=True)
class _Measured:
    """A module with what was measured of it.

    Attributes:
        model: in float32.
        exact: the same in float64.
        ranges: seen in training.
        tolerance: of a logit, as long as no logit of the row exceeds ``largest``.
        largest: logit that was seen while measuring.
    """

    model: torch.nn.Module
    exact: torch.nn.Module
    ranges: Ranges
    tolerance: float
    largest: float

    def label_of(self, features: Float32Matrix) -> Labels:
        """Tell the exact label of rows, ``(rows,)``."""
        return np.asarray(_answer(self.exact, features, torch.float64).argmax(axis=1))

    def ask(self, features: Float32Matrix) -> Oracle:
        """Give exact answers with their tolerances."""
        value = _answer(self.exact, features, torch.float64)
        got = _answer(self.model, features, torch.float32)
        logits = Enclosure(value, self._tolerate(features, value, got))
        return answer_from(logits, enclose_probabilities(logits))

    def _tolerate(
        self, features: Float32Matrix, value: Float64Matrix, got: Float64Matrix
    ) -> Float64Matrix:
        """Tolerance of each logit; infinite where nothing can be said."""
        with np.errstate(invalid="ignore", over="ignore"):
            size = np.abs(value).max(axis=1, keepdims=True)  # (rows, 1)
            off = np.abs(got - value).max(axis=1, keepdims=True)  # (rows, 1)
            usual = self.tolerance * np.maximum(size / self.largest, 1.0)  # (rows, 1)
        # Inside the ranges every row is promised something; outside, float32 may lose its way.
        inside = self.ranges.hold(features)[:, None]  # (rows, 1)
        allowed = np.where(inside, np.fmax(usual, SPARE * off), usual)
        error = np.where(off <= allowed, allowed, np.inf)
        special = (got == value) | (np.isnan(got) & np.isnan(value))  # where it is not finite
        met = rows_with_all(special & ~np.isfinite(value))[:, None]  # (rows, 1)
        return np.array(np.broadcast_to(np.where(met, 0.0, error), value.shape))


def _count_products(model: torch.nn.Module, features: Float32Matrix) -> int:
    """Count the multiplications of matrix products that a row costs; 1 at least."""
    with torch.inference_mode(), FlopCounterMode(display=False) as counter:
        model(torch.from_numpy(features).clone())
    # A multiplication and an addition are two of its operations.
    return max(int(counter.get_total_flops()) // (2 * len(features)), 1)


def _answer(model: torch.nn.Module, features: Float32Matrix, dtype: torch.dtype) -> Float64Matrix:
    """Run a module in its precision, ``(rows, classes)``."""
    pieces = []
    with torch.inference_mode():
        for start in range(0, max(len(features), 1), _PIECE):
            part = torch.from_numpy(features[start : start + _PIECE])
            rows = part.to(dtype, copy=True)  # the model may change its input
            try:
                pieces.append(model(rows).double().numpy())
            except Exception as exc:  # whatever a module raises
                raise UsageError(
                    f"the model cannot answer some rows: {_reason(exc)}; it has to answer any "
                    "numbers, those outside the ranges too"
                ) from exc
    return np.concatenate(pieces)


def _reason(error: Exception) -> str:
    return next(iter(str(error).strip().splitlines()), type(error).__name__)


def _in_float64(model: torch.nn.Module, sample: Float32Matrix) -> torch.nn.Module:
    """Copy a module to float64 and make sure that it computes there, each row for itself."""
    exact = widen(model)
    rows = torch.from_numpy(sample[:_COMPARED]).double()
    try:
        with torch.inference_mode():
            together = exact(rows.clone())
            single = torch.cat([exact(row[None].clone()) for row in rows])
    except Exception as exc:  # whatever a module raises
        raise UsageError(
            "the model cannot be run in float64, which its tolerance is measured with: "
            f"{_reason(exc)}; take dtypes from the input"
        ) from exc
    if together.dtype != torch.float64:
        raise UsageError(
            f"the model answers {together.dtype} for float64 rows, so that its tolerance cannot "
            "be measured: take dtypes from the input"
        )
    scale = float(together.abs().nan_to_num().max()) if together.numel() else 0.0
    differs = (together - single).abs() > _SAME * max(scale, FLOAT32.tiny)
    if differs.any():
        row = int(differs.any(dim=1).nonzero()[0, 0])
        raise UsageError(
            f"the model answers row {row} of a batch otherwise than the row alone: it is in "
            "training mode, draws random numbers, or mixes rows; only models that answer each "
            "row for itself can be deployed"
        )
    return exact
