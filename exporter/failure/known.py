"""What a captured model has at each of its values: in float64, and how far float32 may be off.

In: a captured program and rows. Out: its operations in order, each with what is known of its
value. The program itself is evaluated, not the file that went wrong: a weight that is wrong in
the file is right here. Whatever torch raises is passed on.

As for the answers of such a model, what float32 may be off is measured: ``SPARE`` times the
largest error of PyTorch's own evaluation of that value on rows inside the ranges.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import fx

from exporter.failure.graphs import OUTPUTS, is_value, kind_of
from exporter.formats.onnx_model import convert
from exporter.formats.two_classes import expand_softmax
from exporter.truth.arithmetic import FLOAT32
from exporter.truth.enclosure import Enclosure
from exporter.truth.measured import SPARE
from exporter.truth.widening import widen

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy.typing as npt
    from torch.export import ExportedProgram

    from exporter.failure.graphs import Language, Value
    from exporter.truth.truth import Captured
    from runtime.schema.features import Float32Matrix

_NOTHING = Enclosure(np.empty((0, 0)), np.empty((0, 0)))


@dataclass(frozen=True)
class Known:
    """What a value must be for some rows.

    Attributes:
        shape: of the value.
        dtype: in float32's evaluation.
        axis: that counts the rows; None where the value is the same for all of them.
        value: ``(rows, columns)``, the other axes put after one another.
    """

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    axis: int | None
    value: Enclosure

    def as_rows(self, value: Value) -> npt.NDArray[Any]:
        """Put a value of this shape, or of more rows, into ``(rows, columns)``."""
        if self.axis is None:
            return value.reshape(1, -1)
        first = np.moveaxis(value, self.axis, 0)
        return first.reshape(len(first), math.prod(first.shape[1:]))


@dataclass(frozen=True)
class Step:
    """One operation of the captured model, as a language writes it.

    Attributes:
        kind: bare name of the operation.
        role: of its value, where it is an output.
        known: of its value; None where the program has no such value.
    """

    kind: str
    role: str | None
    known: Known | None


def known_steps(
    captured: Captured, language: Language, features: Float32Matrix
) -> tuple[Step, ...]:
    """Evaluate a captured model, operation by operation.

    Args:
        captured: the model.
        language: whose operations are wanted; for ONNX the program is converted anew, which names
            the values of the ONNX graph after those of the program.
        features: ``(rows, n_features)`` float32.

    Returns:
        The operations in order.
    """
    converted = convert(captured.program) if language == "ONNX" else None
    module = _graph_of(converted.exported_program if converted else captured.program)
    known = _evaluate(module, features, captured.sample)
    (answer,) = (node for node in module.graph.nodes if node.op == "output")
    names = dict(zip(OUTPUTS, (node.name for node in answer.all_input_nodes), strict=False))
    if converted:  # there the outputs have the names of their roles
        model = converted.model_proto
        expand_softmax(model)
        made = [(node.op_type, node.output[0]) for node in model.graph.node]
        return tuple(
            Step(kind_of(op), name if name in names else None, known.get(names.get(name, name)))
            for op, name in made
        )
    roles = {name: role for role, name in names.items()}
    return tuple(
        Step(kind_of(str(node.target)), roles.get(node.name), known.get(node.name))
        for node in module.graph.nodes
        if is_value(node)
    )


def _graph_of(program: ExportedProgram | None) -> fx.GraphModule:
    module = program.module() if program else None
    if not isinstance(module, fx.GraphModule):
        raise TypeError(f"{type(module).__name__} has no graph of torch.fx")
    return module


class _Recorder(fx.Interpreter):
    """Runs a graph and keeps every tensor that an operation makes."""

    def __init__(self, module: fx.GraphModule) -> None:
        super().__init__(module)
        self._kept: dict[str, Value] = {}

    def run_node(self, n: fx.Node) -> Any:  # noqa: ANN401 - as torch has it
        result = super().run_node(n)
        if n.op == "call_function" and isinstance(result, torch.Tensor):
            self._kept[n.name] = result.numpy().copy()  # what comes later may change it in place
        return result

    def record(self, features: Float32Matrix, dtype: torch.dtype) -> dict[str, Value]:
        """Run the graph and give the values by name."""
        self._kept = {}
        with torch.inference_mode():
            self.run(torch.from_numpy(features).to(dtype, copy=True))
        return self._kept


def _evaluate(
    module: fx.GraphModule, features: Float32Matrix, sample: Float32Matrix
) -> Mapping[str, Known]:
    """Evaluate a graph in float64 and float32, and learn on a sample how far these are apart."""
    wide = widen(module)
    if not isinstance(wide, fx.GraphModule):
        raise TypeError(f"{type(wide).__name__} has no graph of torch.fx")
    if len(sample) == len(features):
        sample = sample[1:]  # what counts the rows differs then
    exact, narrow = _Recorder(wide), _Recorder(module)
    here = exact.record(features, torch.float64), narrow.record(features, torch.float32)
    there = exact.record(sample, torch.float64), narrow.record(sample, torch.float32)
    known = {}
    for name, value in here[0].items():
        if all(name in values for values in (here[1], *there)):
            values = (value, here[1][name], there[0][name], there[1][name])
            found = _know(*values, rows=(len(features), len(sample)))
            if found:
                known[name] = found
    return known


def _know(
    exact: Value, got: Value, sample: Value, got_sample: Value, *, rows: tuple[int, int]
) -> Known | None:
    """Say what is known of one value; None where its rows cannot be told apart."""
    sizes = list(zip(exact.shape, sample.shape, strict=False))
    axes = [axis for axis, pair in enumerate(sizes) if pair[0] != pair[1]]
    if len(axes) > 1 or exact.ndim != sample.ndim or any(sizes[axis] != rows for axis in axes):
        return None
    known = Known(exact.shape, got.dtype, axes[0] if axes else None, _NOTHING)
    wide, narrow = known.as_rows(exact), known.as_rows(got)
    if not np.issubdtype(exact.dtype, np.floating):
        error = np.where(wide == narrow, 0.0, np.inf)
    else:
        error = _tolerate(wide, narrow, *_measure(sample, got_sample))
    value = Enclosure(wide.astype(np.float64), error)
    return Known(known.shape, known.dtype, known.axis, value)


def _measure(exact: npt.NDArray[Any], got: npt.NDArray[Any]) -> tuple[float, float]:
    """Largest error and largest value on a sample, both positive."""
    with np.errstate(invalid="ignore"):  # inf - inf: not finite, and not counted
        error = np.abs(got - exact)
    worst = float(error.max(initial=0.0, where=np.isfinite(error)))
    largest = float(np.abs(exact).max(initial=FLOAT32.tiny, where=np.isfinite(exact)))
    return max(worst, FLOAT32.unit_roundoff * largest, FLOAT32.tiny), largest


def _tolerate(
    exact: npt.NDArray[Any], got: npt.NDArray[Any], worst: float, largest: float
) -> npt.NDArray[np.float64]:
    """What each number may be off; infinite where float32 itself loses its way."""
    with np.errstate(invalid="ignore", over="ignore"):
        size = np.abs(exact).max(axis=1, keepdims=True, initial=0.0)  # (rows, 1)
        off = np.abs(got - exact).max(axis=1, keepdims=True, initial=0.0)  # (rows, 1)
        usual = SPARE * worst * np.maximum(size / largest, 1.0)
    allowed = np.broadcast_to(np.fmax(usual, SPARE * off), exact.shape)
    same = (got == exact) | (np.isnan(got) & np.isnan(exact))
    special = np.where(same, 0.0, np.inf)
    finite = np.isfinite(exact) & np.isfinite(got) & np.isfinite(allowed)
    return np.where(finite, allowed, special)
