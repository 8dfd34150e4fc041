"""Recognise a Linear-ReLU network, and the imputation before it, in a captured graph."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from exporter.reference.layers import Imputer, Layer, copy_to_numpy

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch.export import ExportedProgram
    from torch.fx import Node

_LINEAR = "aten.linear"
_CONCATENATION = "aten.cat"
_RELU = ("aten.relu", "aten.relu_")
# The operations of trainer.model.Imputation, as _imputation_nodes lists them.
_IMPUTATION = ("aten.where", "aten.to", "aten.index_select", "aten.logical_and", "aten.isnan")
_CONCATENATED = 2
# Operations that return rows of features unchanged.
_IDENTITIES = ("aten.dropout", "aten.flatten", "aten.alias", "aten.detach", "aten.contiguous")


def find_layers(program: ExportedProgram) -> tuple[Layer, ...] | None:
    """Find the layers of a deployed chain of Linear and ReLU; None for any other network."""
    tensors = _tensors(program)
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
        elif name == _CONCATENATION and layers and not activated:
            return tuple(reversed(layers)) if _read_imputer(node, tensors) else None
        elif name not in _IDENTITIES and not _is_cast_to_itself(node):
            return None
        node = node.args[0]  # type: ignore[assignment]  # the first argument of all of them
    is_whole = node.name not in tensors and not (activated and layers)
    return tuple(reversed(layers)) if layers and is_whole else None


def find_imputer(program: ExportedProgram) -> Imputer | None:
    """Find the imputation before the first layer, as ``trainer.model`` writes it."""
    tensors = _tensors(program)
    nodes = [node for node in program.graph.nodes if node.op == "call_function"]
    found = [_read_imputer(node, tensors) for node in nodes if op_name(node) == _CONCATENATION]
    return found[0] if len(found) == 1 else None


def op_name(node: Node) -> str:
    """Return a node's operation without its overload, such as ``aten.linear``."""
    return ".".join(str(node.target).split(".")[:2])


def argument(node: Node, position: int) -> Any:  # noqa: ANN401 - torch's type
    """Return a node's positional argument; None where it has fewer."""
    return node.args[position] if len(node.args) > position else None


def _is_cast_to_itself(node: Node) -> bool:
    """Return whether a node casts float32 numbers to float32."""
    values = (node.meta.get("val"), getattr(node.args[0], "meta", {}).get("val"))
    return op_name(node) == "aten.to" and all(
        getattr(value, "dtype", None) == torch.float32 for value in values
    )


def _read_layer(node: Node, tensors: dict[str, torch.Tensor]) -> Layer | None:
    """Read a Linear layer whose float32 weights belong to the program."""
    weight, bias = (argument(node, position) for position in (1, 2))
    matrix = tensors.get(getattr(weight, "name", ""))
    vector = None if bias is None else tensors.get(getattr(bias, "name", ""))
    if matrix is None or matrix.dtype != torch.float32 or (bias is not None and vector is None):
        return None
    return Layer(
        copy_to_numpy(matrix),
        np.zeros(len(matrix), np.float32) if vector is None else copy_to_numpy(vector),
    )


def _read_imputer(node: Node, tensors: dict[str, torch.Tensor]) -> Imputer | None:
    """Read an imputation from its last node; None where it is something else."""
    nodes = _imputation_nodes(node)
    if nodes is None or [op_name(each) for each in nodes] != list(_IMPUTATION):
        return None
    filled, indicators, selected, missing, is_nan = nodes
    inputs = argument(filled, 2)
    constants = (argument(filled, 1), argument(missing, 1), argument(selected, 2))
    fills, mask, columns = (tensors.get(getattr(each, "name", "")) for each in constants)
    is_joined = argument(is_nan, 0) is inputs and argument(selected, 0) is missing
    arguments = (argument(node, 1), argument(selected, 1), argument(indicators, 1))
    if not is_joined or inputs.op != "placeholder" or arguments != (1, 1, torch.float32):
        return None
    if fills is None or mask is None or columns is None:
        return None
    if mask.nonzero().flatten().tolist() != columns.tolist():
        return None
    return Imputer(copy_to_numpy(fills), tuple(columns.tolist()))


def _imputation_nodes(node: Node) -> tuple[Node, ...] | None:
    """Follow an imputation back: filled values, indicators, selected, missing, is-NaN."""
    parts = argument(node, 0)
    if not isinstance(parts, list | tuple) or len(parts) != _CONCATENATED:
        return None
    filled, indicators = parts
    nodes: list[Node] = [filled, indicators, argument(indicators, 0), argument(filled, 0)]
    if not all(hasattr(each, "args") for each in nodes):
        return None
    nodes.append(argument(nodes[-1], 0))
    return tuple(nodes) if hasattr(nodes[-1], "args") else None


def _logits(program: ExportedProgram) -> Node:
    """Return the node of the third output."""
    (output,) = (node for node in program.graph.nodes if node.op == "output")
    names = program.graph_signature.user_outputs
    nodes: dict[str, Node] = {node.name: node for node in output.all_input_nodes}
    return nodes[str(names[2])]


def _tensors(program: ExportedProgram) -> dict[str, torch.Tensor]:
    """Return the program's own tensors, by the name of their placeholder."""
    return dict(_named_tensors(program))


def _named_tensors(program: ExportedProgram) -> Iterator[tuple[str, torch.Tensor]]:
    signature = program.graph_signature
    held = {**program.constants, **program.state_dict}
    targets = {
        **signature.inputs_to_parameters,
        **signature.inputs_to_buffers,
        **signature.inputs_to_lifted_tensor_constants,
    }
    for name, target in targets.items():
        tensor = held[target]
        if isinstance(tensor, torch.Tensor):
            yield name, tensor
