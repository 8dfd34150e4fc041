"""Find the first node of a graph that differs from the layers of a Linear-ReLU network.

Each value of the graph corresponds to a stage of the layers: the features, a product, a layer's
sum, its ReLU, an output; before the layers, to an operation of the encoding. The nodes' values are
compared with the reference's values and bounds for these, in execution order.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from exporter.formats.graphs import op_kind
from exporter.parity.verdict import Comparison, shorten
from exporter.reference.bounds import enclose_linear, enclose_relu
from exporter.reference.intervals import FLOAT32, Enclosure, rows_with_all
from exporter.reference.layers import Layer
from exporter.reference.oracle import find_decidable
from exporter.reference.preprocessing import NO_PREPROCESSING
from exporter.reference.softmax import enclose_probabilities

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy.typing as npt

    from exporter.formats.graphs import Graph, Node, Value
    from exporter.reference.preprocessing import Preprocessing
    from runtime.schema.features import Float32Matrix

_LINEAR = ("gemm", "linear", "addmm")
_PRODUCT = ("matmul", "mm")
_SUM = ("add",)
# Operations of an encoding; their values have a row for each bin.
_STEPS = {"sub": "difference", "mul": "product", "clamp": "clipped", "clip": "clipped"}
_OUTPUTS = {"softmax": "probabilities", "argmax": "label"}


@dataclass(frozen=True)
class _Stage:
    """The stage of the layers that a value corresponds to.

    The kind is ``features``, ``product`` (a sum without its bias), ``sum``, ``relu``,
    ``probabilities``, ``label``, or ``intermediate``: between the logits and one of these two.
    """

    kind: str
    layer: int  # position of the layer that computes it; -1 for the features


def find_divergence(
    graph: Graph,
    layers: Sequence[Layer],
    features: Float32Matrix,
    index: npt.NDArray[np.int64],
    *,
    preprocessing: Preprocessing = NO_PREPROCESSING,
    keeps_specials: bool = True,
) -> str:
    """Name the first node whose value leaves the reference's bound, in a clause for a message.

    ``features`` are the failing batch, ``(rows, n_features)``; ``index`` are the numbers of its
    rows. Rows without a finite output are compared only with ``keeps_specials``.
    """
    expected = _Expected(layers, preprocessing.enclose(features))
    steps = preprocessing.enclose_steps(features)
    start, inputs = _input_of_layers(graph), _Stage("features", -1)
    stages = {} if preprocessing else {graph.features: inputs}
    for node in graph.nodes:
        source = next((stages[name] for name in node.inputs if name in stages), None)
        if node.output == start:
            source = inputs
        step = steps.get(_STEPS.get(op_kind(node.op), "")) if source is None else None
        if step:
            enclosure = _checked(step, keeps_specials=keeps_specials)
            reason = _compare(node, enclosure, features, index, is_transposed=True)
        elif source is None:
            continue  # a constant, or a part of the imputation
        else:
            stages[node.output] = stage = _classify(node, source, graph, len(layers))
            if stage.kind == "intermediate":
                continue
            enclosure = _checked(expected.of(stage), keeps_specials=keeps_specials)
            reason = _compare(node, enclosure, features, index)
        if reason:
            return f"first diverging node: {node.name} ({node.op}), output {node.output}: {reason}"
    return (
        f"no node diverges when its value is read: the {len(graph.nodes)} nodes are correct one by "
        "one, but not as the engine fuses them"
    )


def _input_of_layers(graph: Graph) -> str:
    """Return the name of the value that the first layer reads."""
    computed = {graph.features}
    for node in graph.nodes:
        read = [name for name in node.inputs if name in computed]
        if read and op_kind(node.op) in _LINEAR + _PRODUCT:
            return read[0]
        if read:
            computed.add(node.output)
    return graph.features


def _classify(node: Node, source: _Stage, graph: Graph, layers: int) -> _Stage:
    """Derive the stage of a node's output from that of its input and its operation."""
    kind = op_kind(node.op)
    role = graph.roles.get(node.output, _OUTPUTS.get(kind))
    if role:
        return _Stage("sum" if role == "logits" else role, layers - 1)
    if source.kind == "intermediate" or not _logits(graph).isdisjoint(node.inputs):
        return replace(source, kind="intermediate")
    if kind in _LINEAR + _PRODUCT:
        without_bias = kind in _PRODUCT and _is_added_to(node, graph)
        return _Stage("product" if without_bias else "sum", min(source.layer + 1, layers - 1))
    if kind in _SUM and source.kind == "product":
        return replace(source, kind="sum")
    if source.kind == "sum" and source.layer < layers - 1:
        return replace(source, kind="relu")
    return source  # any other operation must change nothing


def _logits(graph: Graph) -> set[str]:
    """Return the names of the logits: the output, and the value that it is a copy of."""
    names = {name for name, role in graph.roles.items() if role == "logits"}
    copies = [
        node.inputs[0]
        for node in graph.nodes
        if node.output in names and op_kind(node.op) == "identity"
    ]
    return names.union(copies)


def _is_added_to(node: Node, graph: Graph) -> bool:
    return any(node.output in other.inputs and op_kind(other.op) in _SUM for other in graph.nodes)


class _Expected:
    """The enclosures of the reference's values, by stage."""

    def __init__(self, layers: Sequence[Layer], current: Enclosure) -> None:
        values = {_Stage("features", -1): current}
        for position, layer in enumerate(layers):
            without_bias = Layer(layer.weight, np.zeros_like(layer.bias))
            values[_Stage("product", position)] = enclose_linear(without_bias, current, FLOAT32)
            current = enclose_linear(layer, current, FLOAT32)
            values[_Stage("sum", position)] = current
            current = enclose_relu(current)
            values[_Stage("relu", position)] = current
        self._values: Mapping[_Stage, Enclosure] = values
        self._logits = values[_Stage("sum", len(layers) - 1)]

    def of(self, stage: _Stage) -> Enclosure:
        """Return a stage's enclosure, ``(rows, width)``; a label is one column."""
        if stage.kind == "probabilities":
            return enclose_probabilities(self._logits, FLOAT32)
        return self._label() if stage.kind == "label" else self._values[stage]

    def _label(self) -> Enclosure:
        label = self._logits.value.argmax(axis=1)  # (rows,)
        error = np.where(find_decidable(self._logits, label), 0.0, np.inf)
        return Enclosure(label[:, None].astype(np.float64), error[:, None])


def _checked(found: Enclosure, *, keeps_specials: bool) -> Enclosure:
    """Take the bounds from rows with NaN or infinities, unless they must come out as such."""
    if keeps_specials:
        return found
    ordinary = rows_with_all(np.isfinite(found.value))[:, None]  # (rows, 1)
    return Enclosure(found.value, np.where(ordinary, found.error, np.inf))


def _compare(
    node: Node,
    expected: Enclosure,
    features: Float32Matrix,
    index: npt.NDArray[np.int64],
    *,
    is_transposed: bool = False,
) -> str | None:
    """Describe the first number of a node's value that is outside its bound."""
    try:
        value = node.value(features)
    except Exception as exc:  # noqa: BLE001 - whatever the engine raises, this node raised it
        return shorten(f"it raised {type(exc).__name__}: {exc}")
    if np.issubdtype(value.dtype, np.floating) and value.dtype != np.float32:
        return f"got {value.dtype}, expected float32"
    got = _as_columns(value.T if is_transposed else value)
    if got.shape != expected.value.shape:
        return f"got shape {got.shape}, expected {expected.value.shape}"
    checked = rows_with_all(np.isfinite(expected.error))
    violation = Comparison(node.output, got, expected, checked).first_violation()
    return f"row {index[violation.row]}: {violation.reason}" if violation else None


def _as_columns(value: Value) -> Float32Matrix:
    """Return a matrix; labels become one column."""
    wide = value if value.ndim > 1 else value[:, None]
    return wide.astype(np.float32)
