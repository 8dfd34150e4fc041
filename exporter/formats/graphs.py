"""Inspect the graph of a model file: its nodes in execution order, and the value of each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol

import numpy as np
import numpy.typing as npt
import onnx
import torch
from torch import fx

if TYPE_CHECKING:
    from collections.abc import Callable

    from runtime.schema.features import Float32Matrix
    from runtime.session import Session

Dialect = Literal["ONNX", "TorchScript", "ATen"]
Value = npt.NDArray[np.generic]
OUTPUTS = ("label", "probabilities", "logits")


class OpenSession(Protocol):
    """Opens an ONNX model in some configuration of onnxruntime."""

    def __call__(self, content: bytes, *, where: str) -> Session:
        """Open a model; ``where`` names it in messages."""


@dataclass(frozen=True)
class Node:
    """One operation of a graph."""

    name: str
    op: str  # as the graph spells it
    inputs: tuple[str, ...]  # names of the values it reads
    output: str  # name of its first output
    value: Callable[[Float32Matrix], Value]  # its output for (rows, n_features) float32


@dataclass(frozen=True)
class Graph:
    """The operations of a model in execution order."""

    dialect: Dialect
    features: str  # name of the input
    nodes: tuple[Node, ...]
    roles: dict[str, str]  # from a value's name to ``label``, ``probabilities`` or ``logits``


def onnx_graph(content: bytes, open_session: OpenSession) -> Graph:
    """Inspect an ONNX model; a node's value is read from a copy of the model that ends there."""
    graph = onnx.load_from_string(content).graph

    def value_of(position: int) -> Callable[[Float32Matrix], Value]:
        return lambda features: _run_to(content, position, open_session, features)

    nodes = (
        Node(node.name, node.op_type, tuple(node.input), node.output[0], value_of(position))
        for position, node in enumerate(graph.node)
    )
    roles = {name: name for name in OUTPUTS}
    return Graph("ONNX", graph.input[0].name, tuple(nodes), roles)


def torchscript_graph(module: torch.jit.ScriptModule) -> Graph:
    """Inspect a TorchScript module; values come from copies of its graph that end there."""
    graph: Any = module.inlined_graph  # torch publishes no types for its graphs

    def value_of(position: int) -> Callable[[Float32Matrix], Value]:
        copied = graph.copy()
        while list(copied.outputs()):
            copied.eraseOutput(0)
        copied.registerOutput(_first_output(list(copied.nodes())[position]))
        for node in reversed(list(copied.nodes())[position + 1 :]):
            node.destroy()  # it may change an earlier value in place
        run = torch._C._create_function_from_graph("forward", copied)  # noqa: SLF001 - no public way in
        return lambda features: _to_numpy(run(module._c, _to_torch(features)))  # noqa: SLF001

    nodes = [
        Node(
            node.kind(),
            node.kind(),
            tuple(value.debugName() for value in node.inputs()),
            _first_output(node).debugName(),
            value_of(position),
        )
        for position, node in enumerate(graph.nodes())
        if node.kind().startswith("aten::") and _makes_tensor(node)
    ]
    (result,) = graph.outputs()
    outputs = [value.debugName() for value in result.node().inputs()]
    _, features = (value.debugName() for value in graph.inputs())
    roles = dict(zip(outputs, OUTPUTS, strict=False))
    return Graph("TorchScript", features, tuple(nodes), roles)


def program_graph(module: torch.nn.Module) -> Graph:
    """Inspect the module of an exported program, by interpreting it."""
    graph_module = as_graph_module(module)
    nodes = graph_module.graph.nodes
    (features,) = (node for node in nodes if node.op == "placeholder")
    (result,) = (node for node in nodes if node.op == "output")
    outputs = [node.name for node in result.all_input_nodes]
    return Graph(
        "ATen",
        features.name,
        tuple(
            Node(
                node.name,
                str(node.target),
                tuple(other.name for other in node.all_input_nodes),
                node.name,
                _ValueRecorder(graph_module, node).read,
            )
            for node in nodes
            if is_value(node)
        ),
        dict(zip(outputs, OUTPUTS, strict=False)),
    )


def as_graph_module(module: torch.nn.Module) -> fx.GraphModule:
    """Return a module as the ``torch.fx`` graph that it must be."""
    if not isinstance(module, fx.GraphModule):
        raise TypeError(f"{type(module).__name__} has no graph of torch.fx")
    return module


def op_kind(op: str) -> str:
    """Return an operation's bare name: ``aten.linear.default`` and ``aten::linear`` are linear."""
    name = op.replace("::", ".").lower().split(".")
    return name[1] if len(name) > 1 else name[0]


def is_value(node: fx.Node) -> bool:
    """Return whether a node makes a tensor that is read: an unread one is an assertion."""
    is_tensor = isinstance(node.meta.get("val"), torch.Tensor)
    return node.op == "call_function" and bool(node.users) and is_tensor


class _ValueRecorder(fx.Interpreter):
    """Runs a graph and keeps the value of one node."""

    def __init__(self, module: fx.GraphModule, node: fx.Node) -> None:
        super().__init__(module)
        self._node = node
        self._value: torch.Tensor | None = None

    def run_node(self, n: fx.Node) -> Any:  # noqa: ANN401 - torch's signature
        result = super().run_node(n)
        if n is self._node:
            self._value = result.clone()  # a later node may change it in place
        return result

    def read(self, features: Float32Matrix) -> Value:
        """Run the graph and return the node's value."""
        with torch.inference_mode():
            self.run(_to_torch(features))
        if self._value is None:
            raise ValueError(f"{self._node.name} did not run")
        return self._value.numpy()


def _first_output(node: Any) -> Any:  # noqa: ANN401 - torch publishes no types for its graphs
    return next(iter(node.outputs()))


def _makes_tensor(node: Any) -> bool:  # noqa: ANN401 - as above
    outputs = list(node.outputs())
    return bool(outputs) and outputs[0].type().kind() == "TensorType"


def _to_torch(features: Float32Matrix) -> torch.Tensor:
    return torch.from_numpy(features).clone()  # the model may change its input


def _to_numpy(value: torch.Tensor) -> Value:
    return value.detach().numpy()


def _run_to(
    content: bytes, position: int, open_session: OpenSession, features: Float32Matrix
) -> Value:
    """Run the first nodes of a model and return the value of the last of them."""
    model = onnx.load_from_string(content)
    graph = model.graph
    target = graph.node[position].output[0]
    del graph.node[position + 1 :]
    del graph.output[:]
    for node in graph.node:  # the output names are needed for the requested value
        for names in (node.input, node.output):
            names[:] = [_inner(name) for name in names]
    for name in OUTPUTS:
        graph.node.append(onnx.helper.make_node("Identity", [_inner(target)], [name]))
        graph.output.append(onnx.helper.make_empty_tensor_value_info(name))
    session = open_session(model.SerializeToString(), where=f"the model up to {target}")
    value: Value = session.run(features).logits
    return value


def _inner(name: str) -> str:
    return f"{name}/inner" if name in OUTPUTS else name
