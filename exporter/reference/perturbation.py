"""How far a captured graph's outputs move when every operation rounds otherwise.

The graph runs in float64, and each operation's operands and result are perturbed at random by as
much as float32's rounding with a margin. Where that moves an output far, float32 has lost its
digits: two large numbers cancel, or a choice such as ``topk`` may fall on the other side. This is
Monte Carlo arithmetic: Parker, *Monte Carlo Arithmetic* (UCLA technical report CSD-970002, 1997).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import fx

from exporter.formats.graphs import as_graph_module, op_kind
from exporter.reference.intervals import FLOAT32

if TYPE_CHECKING:
    from exporter.reference.intervals import Float64Matrix
    from runtime.schema.features import Float32Matrix

_SEED = 20_240_305
_LOGITS = 2  # position among the outputs of a deployed module
# Operations that choose or move numbers and round none; those tagged as views are others.
_EXACT = frozenset(
    {
        *("abs", "alias", "amax", "amin", "cat", "ceil", "clamp", "clamp_max", "clamp_min"),
        *("clone", "contiguous", "detach", "dropout", "embedding", "fill", "flatten", "flip"),
        *("floor", "fmod", "gather", "hardtanh", "index", "index_select", "masked_fill", "max"),
        *("maximum", "min", "minimum", "nan_to_num", "neg", "one_hot", "pad", "relu", "relu6"),
        *("remainder", "repeat", "reshape", "roll", "round", "scatter", "sign", "sort", "stack"),
        *("threshold", "to", "topk", "trunc", "where"),
    }
)
# Functions whose error engines bound in proportion to their largest value, not to the result.
_BOUNDED = frozenset({"erf", "sigmoid", "tanh"})
_PROPORTIONAL = frozenset({"gelu", "mish", "silu"})  # a bounded function times the argument


@dataclass(frozen=True)
class Perturbation:
    """Runs a deployed graph in float64 with perturbed operations."""

    module: torch.nn.Module  # in float64
    size: float  # of a perturbation, relative

    def run(self, features: Float32Matrix, sample: int) -> Float64Matrix:
        """Return perturbed logits of rows, ``(rows, classes)``; each sample differs."""
        generator = torch.Generator().manual_seed(_SEED + sample)
        interpreter = _Perturbed(as_graph_module(self.module), self.size, generator)
        with torch.inference_mode(), np.errstate(all="ignore"):
            outputs = interpreter.run(torch.from_numpy(features).double())
        logits: Float64Matrix = outputs[_LOGITS].double().numpy()
        return logits


class _Perturbed(fx.Interpreter):
    """Interprets a graph; perturbs the operands of sums and products, and every result."""

    def __init__(self, module: fx.GraphModule, size: float, generator: torch.Generator) -> None:
        super().__init__(module)
        self._size, self._generator = size, generator

    def call_function(self, target: Any, args: Any, kwargs: Any) -> Any:  # noqa: ANN401 - torch's signature
        kind = op_kind(str(target)).strip("_")
        if kind in _EXACT or getattr(target, "is_view", False):
            return super().call_function(target, args, kwargs)
        tags = getattr(target, "tags", ())
        if torch.Tag.pointwise not in tags:
            args = fx.node.map_aggregate(args, self._perturb)
        result = super().call_function(target, args, kwargs)
        return fx.node.map_aggregate(result, lambda each: self._round(each, kind, args))

    def _perturb(self, value: Any) -> Any:  # noqa: ANN401 - an argument of an operation
        """Change each number by ``size`` of itself, up or down."""
        if not isinstance(value, torch.Tensor) or value.dtype != torch.float64:
            return value
        return value + value * self._noise(value)

    def _round(self, value: Any, kind: str, args: Any) -> Any:  # noqa: ANN401 - as above
        """Perturb a result, except for numbers that float32 holds exactly."""
        if not isinstance(value, torch.Tensor) or value.dtype != torch.float64:
            return value
        changed: torch.Tensor = self._perturb(value)
        if kind in _BOUNDED:
            changed = changed + self._noise(value)
        elif kind in _PROPORTIONAL:
            changed = changed + args[0] * self._noise(value)
        return torch.where(value.float().double() == value, value, changed)

    def _noise(self, value: torch.Tensor) -> torch.Tensor:
        noise = torch.empty(value.shape, dtype=torch.float64)
        return noise.bernoulli_(0.5, generator=self._generator).mul_(2).sub_(1).mul_(self._size)


def make_perturbation(module: torch.nn.Module, margin: float) -> Perturbation:
    """Make the perturbation of a deployed float64 graph, ``margin`` roundings in size."""
    return Perturbation(module, margin * FLOAT32.unit_roundoff)
