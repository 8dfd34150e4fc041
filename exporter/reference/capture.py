"""Recognise a Linear-ReLU network in a captured graph."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from exporter.reference.captured_stages import read_stages
from exporter.reference.layers import Layer, copy_to_numpy
from exporter.reference.nodes import argument, constant, op_name, tensors_of

if TYPE_CHECKING:
    from torch.export import ExportedProgram
    from torch.fx import Node

    from exporter.reference.preprocessing import Preprocessing

_LINEAR = "aten.linear"
_RELU = ("aten.relu", "aten.relu_")
# Operations that return rows of features unchanged.
_IDENTITIES = ("aten.dropout", "aten.flatten", "aten.alias", "aten.detach", "aten.contiguous")


def find_network(program: ExportedProgram) -> tuple[tuple[Layer, ...], Preprocessing] | None:
    """Find the layers of a deployed chain of Linear and ReLU, and the stages before it.

    Returns None for any other network.
    """
    tensors = tensors_of(program)
    node, layers = _logits(program), list[Layer]()
    activated = True  # whether a Linear layer may come next, from the end
    while node.op == "call_function":
        name = op_name(node)
        if name == _LINEAR and activated:
            layer = _read_layer(node, tensors)
            if layer is None:
                return None
            layers.append(layer)
            activated = False
        elif name in _RELU and layers and not activated:
            activated = True
        elif name not in _IDENTITIES and not _is_cast_to_itself(node):
            break
        node = node.args[0]  # type: ignore[assignment]  # the first argument of all of them
    if not layers or activated:
        return None
    stages = read_stages(node, tensors)
    return None if stages is None else (tuple(reversed(layers)), stages)


def _is_cast_to_itself(node: Node) -> bool:
    """Return whether a node casts float32 numbers to float32."""
    values = (node.meta.get("val"), getattr(node.args[0], "meta", {}).get("val"))
    return op_name(node) == "aten.to" and all(
        getattr(value, "dtype", None) == torch.float32 for value in values
    )


def _read_layer(node: Node, tensors: dict[str, torch.Tensor]) -> Layer | None:
    """Read a Linear layer whose float32 weights belong to the program."""
    weight, bias = (argument(node, position) for position in (1, 2))
    matrix, vector = constant(weight, tensors), constant(bias, tensors)
    if matrix is None or matrix.dtype != torch.float32 or (bias is not None and vector is None):
        return None
    return Layer(
        copy_to_numpy(matrix),
        np.zeros(len(matrix), np.float32) if vector is None else copy_to_numpy(vector),
    )


def _logits(program: ExportedProgram) -> Node:
    """Return the node of the third output."""
    (output,) = (node for node in program.graph.nodes if node.op == "output")
    names = program.graph_signature.user_outputs
    nodes: dict[str, Node] = {node.name: node for node in output.all_input_nodes}
    return nodes[str(names[2])]
