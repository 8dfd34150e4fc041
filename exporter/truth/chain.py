"""Read a captured graph: is it a Linear-ReLU network, and does it answer each row for itself?

In: an exported program with the contract's outputs. Out: its layers, or None for another kind of
network. Graphs that are still in training mode are a ``UsageError``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from exporter.truth.gaps import Gaps
from exporter.truth.layer import Layer
from runtime.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch.export import ExportedProgram
    from torch.fx import Node

_LINEAR = "aten.linear"
_FILLED = "aten.cat"
_RELU = ("aten.relu", "aten.relu_")
_FILLING = ("aten.where", "aten.to", "aten.index_select", "aten.logical_and", "aten.isnan")
_FILLED_PARTS = 2
# Operations that hand on what they get, rows of features being what they are.
_PASSED_ON = ("aten.dropout", "aten.flatten", "aten.alias", "aten.detach", "aten.contiguous")
# Where an operation says whether it trains: position and name of the argument.
_TRAINS = {
    "aten.dropout": (2, "train"),
    "aten.dropout_": (2, "train"),
    "aten.alpha_dropout": (2, "train"),
    "aten.feature_dropout": (2, "train"),
    "aten.feature_alpha_dropout": (2, "train"),
    "aten.native_dropout": (2, "train"),
    "aten.rrelu": (3, "training"),
    "aten.scaled_dot_product_attention": (4, "dropout_p"),
    "aten.batch_norm": (5, "training"),
    "aten.native_batch_norm": (5, "training"),
    "aten.rnn_tanh": (6, "train"),
    "aten.rnn_relu": (6, "train"),
}
# Operations on which onnxruntime (1.31) aborts the whole process when there are no rows.
_ABORTS = ("aten.lstm", "aten.gru")


def find_layers(program: ExportedProgram) -> tuple[Layer, ...] | None:
    """Find the layers of a program that is a chain of Linear layers with ReLU between them.

    Args:
        program: of a module with the outputs label, probabilities and logits.

    Returns:
        The layers, from input to output; None when the logits are made in another way.
    """
    tensors = _tensors(program)
    node, layers = _logits(program), list[Layer]()
    activated = True  # whether a Linear layer may come next, seen from the end
    while node.op == "call_function":
        name = _name(node)
        if name == _LINEAR and activated:
            layer = _layer(node, tensors)
            if layer is None:
                return None
            layers.append(layer)
            activated = False
        elif name in _RELU and layers and not activated:
            activated = True
        elif name == _FILLED and layers and not activated:
            return tuple(reversed(layers)) if _read_gaps(node, tensors) else None
        elif name not in _PASSED_ON:
            return None
        node = node.args[0]  # type: ignore[assignment]  # the first argument of all of them
    is_whole = node.name not in tensors and not (activated and layers)
    return tuple(reversed(layers)) if layers and is_whole else None


def find_gaps(program: ExportedProgram) -> Gaps | None:
    """Find what fills gaps before the first layer, as ``trainer.imputation`` does.

    Args:
        program: of a module with the outputs label, probabilities and logits.

    Returns:
        What it does; None where nothing does.
    """
    tensors = _tensors(program)
    nodes = [node for node in program.graph.nodes if node.op == "call_function"]
    found = [_read_gaps(node, tensors) for node in nodes if _name(node) == _FILLED]
    return found[0] if len(found) == 1 else None


def refuse_training(program: ExportedProgram) -> None:
    """Refuse a program whose answers change from call to call, or with the other rows.

    Args:
        program: as captured.

    Raises:
        UsageError: when it draws random numbers, or dropout or batch normalisation trains.
    """
    for node in program.graph.nodes:
        if node.op != "call_function":
            continue
        name = _name(node)
        if name in _TRAINS:
            position, keyword = _TRAINS[name]
            if _argument(node, position) or node.kwargs.get(keyword):
                raise UsageError(
                    f"the model is in training mode at {_where(node)} ({name}): "
                    "call eval() before it is exported"
                )
        elif torch.Tag.nondeterministic_seeded in getattr(node.target, "tags", ()):
            raise UsageError(
                f"the model draws random numbers at {_where(node)} ({name}): "
                "its answers cannot be proven"
            )


def refuse_aborting(program: ExportedProgram) -> None:
    """Refuse a program that onnxruntime cannot run on an empty batch, not even to say so.

    Args:
        program: as captured.

    Raises:
        UsageError: when it has LSTM or GRU layers.
    """
    for node in program.graph.nodes:
        if node.op == "call_function" and _name(node) in _ABORTS:
            raise UsageError(
                f"the model has a layer at {_where(node)} ({_name(node)}) on which onnxruntime "
                "aborts for an empty batch: it cannot be deployed"
            )


def _layer(node: Node, tensors: dict[str, torch.Tensor]) -> Layer | None:
    """Read a Linear layer whose weights are the program's own, in float32."""
    weight, bias = (_argument(node, position) for position in (1, 2))
    matrix = tensors.get(getattr(weight, "name", ""))
    vector = None if bias is None else tensors.get(getattr(bias, "name", ""))
    if matrix is None or matrix.dtype != torch.float32 or (bias is not None and vector is None):
        return None
    return Layer(
        _to_numpy(matrix),
        np.zeros(len(matrix), np.float32) if vector is None else _to_numpy(vector),
    )


def _read_gaps(node: Node, tensors: dict[str, torch.Tensor]) -> Gaps | None:
    """Read an imputation from the node that it ends in; None where it is something else."""
    steps = _filling_steps(node)
    if steps is None or [_name(step) for step in steps] != list(_FILLING):
        return None
    chosen, marks, picked, missing, asked = steps
    inputs = _argument(chosen, 2)
    held = (_argument(chosen, 1), _argument(missing, 1), _argument(picked, 2))
    fills, gaps, places = (tensors.get(getattr(each, "name", "")) for each in held)
    is_joined = _argument(asked, 0) is inputs and _argument(picked, 0) is missing
    arguments = (_argument(node, 1), _argument(picked, 1), _argument(marks, 1))
    if not is_joined or inputs.op != "placeholder" or arguments != (1, 1, torch.float32):
        return None
    if fills is None or gaps is None or places is None:
        return None
    if gaps.nonzero().flatten().tolist() != places.tolist():
        return None
    return Gaps(_to_numpy(fills), tuple(places.tolist()))


def _filling_steps(node: Node) -> tuple[Node, ...] | None:
    """The nodes that would make an imputation: choice, marks, what they are of, and the look."""
    parts = _argument(node, 0)
    if not isinstance(parts, list | tuple) or len(parts) != _FILLED_PARTS:
        return None
    chosen, marks = parts
    steps: list[Node] = [chosen, marks, _argument(marks, 0), _argument(chosen, 0)]
    if not all(hasattr(step, "args") for step in steps):
        return None
    steps.append(_argument(steps[-1], 0))
    return tuple(steps) if hasattr(steps[-1], "args") else None


def _argument(node: Node, position: int) -> Any:  # noqa: ANN401 - torch types its graphs so
    return node.args[position] if len(node.args) > position else None


def _logits(program: ExportedProgram) -> Node:
    """The value that is the third output."""
    (output,) = (node for node in program.graph.nodes if node.op == "output")
    names = program.graph_signature.user_outputs
    nodes: dict[str, Node] = {node.name: node for node in output.all_input_nodes}
    return nodes[str(names[2])]


def _tensors(program: ExportedProgram) -> dict[str, torch.Tensor]:
    """The program's own tensors, by the name of their placeholder."""
    return dict(_named_tensors(program))


def _named_tensors(program: ExportedProgram) -> Iterator[tuple[str, torch.Tensor]]:
    signature = program.graph_signature
    held = {**program.constants, **program.state_dict}
    places = {
        **signature.inputs_to_parameters,
        **signature.inputs_to_buffers,
        **signature.inputs_to_lifted_tensor_constants,
    }
    for name, place in places.items():
        tensor = held[place]
        if isinstance(tensor, torch.Tensor):
            yield name, tensor


def _name(node: Node) -> str:
    return ".".join(str(node.target).split(".")[:2])  # without the overload


def _where(node: Node) -> str:
    """Name the module that a node comes from, as its user wrote it."""
    stack = node.meta.get("nn_module_stack") or {}
    paths = [str(entry[0]) for entry in stack.values()]
    path = paths[-1].removeprefix("model").lstrip(".") if paths else ""
    return path or str(node.name)


def _to_numpy(tensor: torch.Tensor) -> Any:  # noqa: ANN401 - numpy's shape is not told
    return tensor.detach().cpu().numpy().copy()
