"""Copy a module so that it computes in float64, the constants and dtypes of a capture too.

In: a module of float32. Out: its float64 copy. Whatever torch raises is passed on.
"""

from __future__ import annotations

import copy
import warnings
from typing import Any

import torch
from torch import fx


def widen(model: torch.nn.Module) -> torch.nn.Module:
    """Copy a module to float64.

    Args:
        model: of float32; it stays as it is.

    Returns:
        The copy, which computes in float64 where it takes its dtypes from its input.
    """
    with warnings.catch_warnings():  # what torch says of itself when it copies a program
        warnings.filterwarnings("ignore", r".*LeafSpec.* is deprecated", category=FutureWarning)
        exact = copy.deepcopy(model).double()
    for module in exact.modules():
        if isinstance(module, fx.GraphModule):
            _widen_graph(module)
    return exact


def _widen_graph(module: fx.GraphModule) -> None:
    """Let a graph compute in float64, which holds the dtypes and constants of its capture."""
    for node in module.graph.nodes:
        node.args = fx.node.map_aggregate(node.args, _widen_value)
        node.kwargs = fx.node.map_aggregate(node.kwargs, _widen_value)
    module.recompile()
    for part in module.modules():
        for name, value in tuple(vars(part).items()):
            if isinstance(value, torch.Tensor) and value.dtype == torch.float32:
                setattr(part, name, value.double())


def _widen_value(value: Any) -> Any:  # noqa: ANN401 - whatever an operation takes
    return torch.float64 if value is torch.float32 else value
