"""The reference of a network without derived bounds: the module itself, run in float64.

The tolerance is measured on the module: ``MARGIN`` times the largest error of PyTorch's own float32
evaluation over rows inside the ranges, in proportion to the logits where those are larger than any
seen there. That is evidence, not a bound: a row harder than all measured ones may exceed it. Its
own tolerance is then measured by ``perturbation``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import fx
from torch.utils.flop_counter import FlopCounterMode

from exporter.formats.copying import copy_module
from exporter.reference.intervals import FLOAT32, Enclosure, rows_with_all
from exporter.reference.oracle import Reference, ReferenceOutputs
from exporter.reference.perturbation import make_perturbation
from exporter.reference.softmax import enclose_probabilities
from runtime.errors import UsageError, first_line

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch.export import ExportedProgram

    from exporter.reference.intervals import Float64Matrix, Mask
    from exporter.reference.oracle import Labels, Perturb
    from runtime.schema.features import Float32Matrix

    FindInside = Callable[[Float32Matrix], Mask]

# Another order of summation may round more often than PyTorch's, by the square root of the terms
# and more; weights in half precision are off by thousands of times.
MARGIN = 16
# Cost of a row relative to a chain of layers: the module runs twice for every reference output,
# once in float64, and functions like exp take longer than a product.
_COST = 8
_CHUNK = 1024  # rows evaluated at a time
_BATCH_TOLERANCE = 2.0**-30  # relative difference of a row's float64 outputs between batches
_COMPARED = 64  # rows evaluated one by one
_USUAL_SHARE = 0.99  # share of the rows whose errors are usual


def measure_reference(
    model: torch.nn.Module,
    program: ExportedProgram,
    sample: Float32Matrix,
    find_inside: FindInside,
) -> Reference:
    """Measure the reference of a float32 module on the CPU, in evaluation mode.

    ``program`` is the captured module, ``sample`` are rows inside the ranges, and ``find_inside``
    marks such rows. Raises ``UsageError`` for a module that does not compute in float64, each
    row independently, or not all rows.
    """
    exact = _checked_float64(model, program, sample)
    got = _run(model, sample, torch.float32)
    expected = _run(exact, sample, torch.float64)
    with np.errstate(invalid="ignore"):  # inf - inf: not finite, and not counted
        error = np.abs(got - expected)
    largest = float(np.abs(expected).max(initial=0.0, where=np.isfinite(expected)))
    worst = max(_usual_worst(error), FLOAT32.unit_roundoff * largest, FLOAT32.tiny)
    measured = _Measured(model, exact, find_inside, MARGIN * worst, max(largest, FLOAT32.tiny))
    return Reference(
        tolerance="measured",
        evaluate=measured.evaluate,
        predict=measured.predict,
        cost=_COST * _count_multiplications(model, sample[:_COMPARED]),
        captured=program,
        perturb=_perturbation(program, sample[:_COMPARED]),
    )


def _perturbation(program: ExportedProgram, sample: Float32Matrix) -> Perturb | None:
    """Make the perturbation of a program; None where its graph cannot be run in float64."""
    perturb = make_perturbation(to_float64(program.module()), MARGIN).run
    try:
        perturb(sample, 0)
    except Exception:  # noqa: BLE001 - torch raises almost anything; the usual tolerance stays
        return None
    return perturb


def _usual_worst(error: Float64Matrix) -> float:
    """Return the largest error of a logit, ``(rows, classes)``, apart from a few rows' excesses.

    Where a choice falls on the other side in float32, an error says nothing about other rows.
    """
    worst = np.where(np.isfinite(error), error, 0.0).max(axis=1, initial=0.0)  # (rows,)
    limit = MARGIN * float(np.quantile(worst, _USUAL_SHARE))
    return float(worst.max(initial=0.0, where=(worst <= limit) | (limit == 0)))


class ProgramLogits(torch.nn.Module):
    """Returns the logits of a deployed program, without its other outputs."""

    def __init__(self, program: torch.nn.Module) -> None:
        """Wrap the module of a program."""
        super().__init__()
        self.program = program

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Return logits ``(batch, classes)``."""
        logits: torch.Tensor = self.program(features)[2]
        return logits


@dataclass(frozen=True)
class _Measured:
    """A module and its measured tolerance."""

    model: torch.nn.Module  # in float32
    exact: torch.nn.Module  # the same in float64
    find_inside: FindInside
    tolerance: float  # of a logit, in rows where no logit exceeds ``largest``
    largest: float  # logit seen while measuring

    def predict(self, features: Float32Matrix) -> Labels:
        """Return the exact label of rows, ``(rows,)``."""
        return np.asarray(_run(self.exact, features, torch.float64).argmax(axis=1))

    def evaluate(self, features: Float32Matrix) -> ReferenceOutputs:
        """Return exact outputs with their tolerances."""
        value = _run(self.exact, features, torch.float64)
        got = _run(self.model, features, torch.float32)
        logits = Enclosure(value, self._tolerances(features, value, got))
        return ReferenceOutputs.of(logits, enclose_probabilities(logits))

    def _tolerances(
        self, features: Float32Matrix, value: Float64Matrix, got: Float64Matrix
    ) -> Float64Matrix:
        """Return the tolerance of each logit; infinite where there is none."""
        with np.errstate(invalid="ignore", over="ignore"):
            size = np.abs(value).max(axis=1, keepdims=True)  # (rows, 1)
            off = np.abs(got - value).max(axis=1, keepdims=True)  # (rows, 1)
            usual = self.tolerance * np.maximum(size / self.largest, 1.0)  # (rows, 1)
        # Inside the ranges every row has a tolerance; outside, float32 may break down.
        inside = self.find_inside(features)[:, None]  # (rows, 1)
        allowed = np.where(inside, np.fmax(usual, MARGIN * off), usual)
        error = np.where(off <= allowed, allowed, np.inf)
        special = (got == value) | (np.isnan(got) & np.isnan(value))  # where it is not finite
        same = rows_with_all(special & ~np.isfinite(value))[:, None]  # (rows, 1)
        return np.array(np.broadcast_to(np.where(same, 0.0, error), value.shape))


def _count_multiplications(model: torch.nn.Module, features: Float32Matrix) -> int:
    """Count the multiplications of matrix products that a row costs, at least 1."""
    with torch.inference_mode(), FlopCounterMode(display=False) as counter:
        model(torch.from_numpy(features).clone())
    # A multiplication and an addition are two of its operations.
    return max(int(counter.get_total_flops()) // (2 * len(features)), 1)


def _run(model: torch.nn.Module, features: Float32Matrix, dtype: torch.dtype) -> Float64Matrix:
    """Run a module in its precision, ``(rows, classes)``."""
    chunks = []
    with torch.inference_mode():
        for start in range(0, max(len(features), 1), _CHUNK):
            chunk = torch.from_numpy(features[start : start + _CHUNK])
            rows = chunk.to(dtype, copy=True)  # the model may change its input
            try:
                chunks.append(model(rows).double().numpy())
            except Exception as exc:  # whatever a module raises
                row = _first_failing(model, chunk.to(dtype, copy=True))
                shown = f", such as {chunk[row].tolist()}" if row is not None else ""
                raise UsageError(
                    f"the model cannot compute some rows{shown}: {first_line(exc)}; it must accept "
                    "any numbers, including those outside the ranges, and NaN where the schema "
                    "lets a value be missing"
                ) from exc
    return np.concatenate(chunks)


def _first_failing(model: torch.nn.Module, rows: torch.Tensor) -> int | None:
    """Return the position of the first row on which a module fails by itself."""
    for position, row in enumerate(rows):
        try:
            model(row[None].clone())
        except Exception:  # noqa: BLE001 - whatever a module raises
            return position
    return None


def _checked_float64(
    model: torch.nn.Module, program: ExportedProgram, sample: Float32Matrix
) -> torch.nn.Module:
    """Copy a module to float64 and check that it computes each row independently.

    A module that has float32 written in it runs as the captured graph, where that is replaced.
    """
    rows = torch.from_numpy(sample[:_COMPARED]).double()
    exact = to_float64(model)
    if not _is_float64(exact, rows):
        exact = to_float64(ProgramLogits(program.module()))
    try:
        with torch.inference_mode():
            together = exact(rows.clone())
            single = torch.cat([exact(row[None].clone()) for row in rows])
    except Exception as exc:  # whatever a module raises
        raise UsageError(
            "the model cannot be run in float64, which is needed to measure its tolerance: "
            f"{first_line(exc)}; take dtypes from the input"
        ) from exc
    if together.dtype != torch.float64:
        raise UsageError(
            f"the model returns {together.dtype} for float64 rows, so its tolerance cannot be "
            "measured: take dtypes from the input"
        )
    if together.shape != single.shape:
        raise UsageError(
            f"for {len(rows)} rows the model returns shape {tuple(together.shape)}, but for one "
            f"{tuple(exact(rows[:1].clone()).shape)}: it must be (batch, classes) for any batch, "
            "which squeeze() without a dimension and a fixed size are not"
        )
    scale = float(together.abs().nan_to_num().max()) if together.numel() else 0.0
    differs = (together - single).abs() > _BATCH_TOLERANCE * max(scale, FLOAT32.tiny)
    if differs.any():
        row = int(differs.any(dim=1).nonzero()[0, 0])
        raise UsageError(
            f"the output for row {row} depends on the rest of the batch: the model is in training "
            "mode, draws random numbers, or mixes rows; only models that compute each row "
            "independently can be deployed"
        )
    return exact


def _is_float64(model: torch.nn.Module, rows: torch.Tensor) -> bool:
    """Return whether a module computes float64 rows as such."""
    try:
        with torch.inference_mode():
            return bool(model(rows.clone()).dtype == torch.float64)
    except Exception:  # noqa: BLE001 - whatever a module raises
        return False


def to_float64(model: torch.nn.Module) -> torch.nn.Module:
    """Copy a float32 module to float64, including dtypes and constants of a captured graph."""
    exact = copy_module(model).double()
    for module in exact.modules():
        if isinstance(module, fx.GraphModule):
            _graph_to_float64(module)
    return exact


def _graph_to_float64(module: fx.GraphModule) -> None:
    for node in module.graph.nodes:
        node.args = fx.node.map_aggregate(node.args, _value_to_float64)
        node.kwargs = fx.node.map_aggregate(node.kwargs, _value_to_float64)
    module.recompile()
    for part in module.modules():
        for name, value in tuple(vars(part).items()):
            if isinstance(value, torch.Tensor) and value.dtype == torch.float32:
                setattr(part, name, value.double())


def _value_to_float64(value: Any) -> Any:  # noqa: ANN401 - an operation's argument
    return torch.float64 if value is torch.float32 else value
