"""Write logarithms of probabilities so that they stay finite.

``log(sigmoid(x))`` is an infinity in float32 where ``x`` is below -104, and torch converts
``logsigmoid`` to ONNX as that. ``-softplus(-x)`` is the same number without the detour, and so is
``log_softmax(x)`` for ``log(softmax(x))``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from exporter.reference.nodes import argument
from exporter.source.endings import SIGMOID, SOFTMAX, cleaned, kind_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import fx

    Write = Callable[[fx.Graph], fx.Node]

_LOG, _LOG_SIGMOID, _COMPLEMENT = "log", "log_sigmoid", "rsub"
_SOFTPLUS = "logsigmoid(x) written as -softplus(-x), which stays finite"
_LOG_SOFTMAX = "log(softmax(x)) written as log_softmax(x), which stays finite"


def needs_rewriting(graph: fx.Graph) -> bool:
    """Return whether a graph has a logarithm that ``rewrite_logarithms`` would change."""
    return any(_rewriting(node) for node in graph.nodes)


def rewrite_logarithms(module: fx.GraphModule) -> tuple[fx.GraphModule, str]:
    """Write them as above, in place; returns what was done, in words, too."""
    notes: dict[str, None] = {}
    for node in tuple(module.graph.nodes):
        rewriting = _rewriting(node)
        if rewriting is None:
            continue
        note, write = rewriting
        notes[note] = None
        with module.graph.inserting_before(node):
            node.replace_all_uses_with(write(module.graph))
    return cleaned(module), "; ".join(notes)


def _rewriting(node: fx.Node) -> tuple[str, Write] | None:
    """Return how a node is written instead, and that in words; None where it stays."""
    kind = _operation(node)
    value: Any = node.args[0] if node.args else None
    if kind == _LOG_SIGMOID:
        return _SOFTPLUS, lambda graph: _negative_softplus(graph, value, negated=True)
    if kind != _LOG:
        return None
    inner = _operation(value)
    if inner == SIGMOID:
        return _SOFTPLUS, lambda graph: _negative_softplus(graph, value.args[0], negated=True)
    if inner == SOFTMAX:
        arguments = (value.args[0], argument(value, 1))
        operation = torch.ops.aten.log_softmax.int
        return _LOG_SOFTMAX, lambda graph: graph.call_function(operation, arguments)
    if inner == _COMPLEMENT and argument(value, 1) == 1 and _operation(value.args[0]) == SIGMOID:
        of = value.args[0].args[0]  # log(1 - sigmoid(x)) is logsigmoid(-x)
        return _SOFTPLUS, lambda graph: _negative_softplus(graph, of, negated=False)
    return None


def _operation(node: fx.Node) -> str:
    return kind_of(node) if node.op == "call_function" else ""


def _negative_softplus(graph: fx.Graph, value: fx.Node, *, negated: bool) -> fx.Node:
    if negated:
        value = graph.call_function(torch.ops.aten.neg.default, (value,))
    softplus = graph.call_function(torch.ops.aten.softplus.default, (value,))
    return graph.call_function(torch.ops.aten.neg.default, (softplus,))
