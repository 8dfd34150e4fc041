"""What a captured graph ends in: softmax, sigmoid, or neither."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import fx

from exporter.formats.copying import copy_module
from exporter.formats.graphs import as_graph_module, op_kind
from exporter.reference.nodes import argument

if TYPE_CHECKING:
    from torch.export import ExportedProgram

SOFTMAX, LOG_SOFTMAX, SIGMOID, EXP = "softmax", "log_softmax", "sigmoid", "exp"
# Operations that return the numbers of their first argument in another shape.
_RESHAPING = frozenset(
    {
        *("alias", "clone", "contiguous", "detach", "dropout", "flatten", "reshape", "squeeze"),
        *("to", "unsqueeze", "view"),
    }
)
# Operations that combine numbers into others of the same kind: averages, complements, columns.
_COMBINING = frozenset(
    {
        *("add", "cat", "clamp", "clamp_max", "clamp_min", "div", "mean", "mul", "permute"),
        *("flip", "rsub", "select", "slice", "stack", "sub", "sum", "transpose"),
    }
)
_CONSTANTS = frozenset({"full", "full_like", "ones", "ones_like", "zeros", "zeros_like"})


@dataclass(frozen=True)
class Ending:
    """The operations that an output is made of, with nothing but arrangement after them.

    Attributes:
        operations: their names, such as ``softmax``; None where another one is among them.
        direct: the only operation, where the output is its result in some shape.
        single: the only operation, where the output combines its result with constants.
    """

    operations: frozenset[str] | None
    direct: fx.Node | None
    single: fx.Node | None

    def ends_in(self, *operations: str) -> bool:
        """Return whether the output is the result of one of some operations."""
        return self.direct is not None and kind_of(self.direct) in operations

    def combines(self, *operations: str) -> bool:
        """Return whether the output is made of results of some operations alone."""
        return bool(self.operations) and frozenset(operations).issuperset(self.operations or ())


def editable_graph(program: ExportedProgram) -> fx.GraphModule:
    """Return a program's graph of one output as a module that can be changed and captured again."""
    captured = copy_module(program.module())
    graph = as_graph_module(captured).graph
    for node in tuple(graph.nodes):
        if node.op == "call_module":  # torch's own assertions about the inputs
            graph.erase_node(node)
        elif node.op == "output":
            (value,) = node.all_input_nodes
            node.args = (value,)
    graph.set_codegen(fx.graph.CodeGen())
    return fx.GraphModule(captured, graph).eval()


def find_ending(graph: fx.Graph, output: int | None = None) -> Ending:
    """Find what an output is made of: the only one, or that of a position."""
    (result,) = (node for node in graph.nodes if node.op == "output")
    values: Any = result.args[0]
    start = values if isinstance(values, fx.Node) else values[output or 0]
    leaves = _leaves(start, set())
    operations = None if None in leaves else frozenset(kind_of(leaf) for leaf in leaves if leaf)
    single = next(iter(leaves)) if len(leaves) == 1 else None
    return Ending(operations, _direct(start), single)


def _direct(node: fx.Node) -> fx.Node | None:
    """Follow an output back through shapes."""
    while node.op == "call_function" and kind_of(node) in _RESHAPING:
        node = node.all_input_nodes[0]
    return node if node.op == "call_function" else None


def _leaves(node: fx.Node, seen: set[fx.Node]) -> set[fx.Node | None]:
    """Follow an output back to softmax, sigmoid and the like; None stands for anything else."""
    if node in seen or node.op == "get_attr":
        return set()
    seen.add(node)
    if node.op != "call_function":
        return {None}
    kind = kind_of(node)
    if kind == EXP:
        inner = _direct(node.all_input_nodes[0])
        is_known = inner is not None and kind_of(inner) == LOG_SOFTMAX
    else:
        is_known = kind in {SOFTMAX, LOG_SOFTMAX, SIGMOID}
    if is_known or kind not in _RESHAPING | _COMBINING | _CONSTANTS:
        return {node if is_known else None}
    return set[fx.Node | None]().union(*(_leaves(each, seen) for each in node.all_input_nodes))


def kind_of(node: fx.Node) -> str:
    """Return an operation's bare name: ``aten._softmax.default`` is a softmax."""
    return op_kind(str(node.target)).strip("_")


def graph_before(module: fx.GraphModule, node: fx.Node) -> fx.GraphModule:
    """Return a graph whose output is the input of one of its nodes."""
    return _ending_at(module, node.all_input_nodes[0])


def graph_with_logarithm(module: fx.GraphModule, node: fx.Node) -> fx.GraphModule:
    """Replace a softmax, or the exponential of a log-softmax, by its logarithm, in place."""
    if kind_of(node) == EXP:
        node.replace_all_uses_with(node.all_input_nodes[0])
    else:
        with module.graph.inserting_before(node):
            dimension = argument(node, 1)
            logarithm = module.graph.call_function(
                torch.ops.aten.log_softmax.int, (node.args[0], dimension)
            )
        node.replace_all_uses_with(logarithm)
    return cleaned(module)


def _ending_at(module: fx.GraphModule, node: fx.Node) -> fx.GraphModule:
    (result,) = (each for each in module.graph.nodes if each.op == "output")
    result.args = (node,)
    return cleaned(module)


def cleaned(module: fx.GraphModule) -> fx.GraphModule:
    """Remove what a graph no longer uses, and compile it."""
    module.graph.eliminate_dead_code()
    module.graph.lint()
    module.recompile()
    return module
