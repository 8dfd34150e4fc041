"""Find the first node of a graph whose value is not what the trained model has there.

In: a graph, the layers that it must compute and the rows that went wrong. Out: the node, in
words. No errors: where nothing can be said, it says so.

Each value of the graph stands for something the layers have too: the features, a product, a
layer's sum, what ReLU makes of it, the answers. The oracle's value and bound for that are compared
with the node's own value, one node after the other, in the order in which they are run.
"""

from __future__ import annotations

import textwrap
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from exporter.failure.graphs import kind_of
from exporter.proof.verdict import Comparison
from exporter.truth.arithmetic import FLOAT32
from exporter.truth.bounds import enclose_linear, enclose_relu
from exporter.truth.enclosure import Enclosure, rows_with_all
from exporter.truth.layer import Layer
from exporter.truth.softmax import enclose_probabilities

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy.typing as npt

    from exporter.failure.graphs import Graph, Node, Value
    from exporter.truth.gaps import Gaps
    from runtime.schema.features import Float32Matrix

_LINEAR = ("gemm", "linear", "addmm")
_PRODUCT = ("matmul", "mm")
_SUM = ("add",)
_FILLED = ("cat", "concat")
_ANSWERS = {"softmax": "probabilities", "argmax": "label"}
_LONGEST_REASON = 300


@dataclass(frozen=True)
class _Stage:
    """What a value stands for.

    Attributes:
        kind: ``features``, ``product`` (a sum without its bias), ``sum``, ``relu``,
            ``probabilities``, ``label``, or ``way``: what is computed of the logits on the way to
            one of these two.
        layer: position of the layer that made it; -1 for the features.
    """

    kind: str
    layer: int


def find_divergence(
    graph: Graph,
    layers: Sequence[Layer],
    features: Float32Matrix,
    index: npt.NDArray[np.int64],
    *,
    gaps: Gaps | None = None,
    keeps_specials: bool = True,
) -> str:
    """Name the first node whose value leaves the oracle's bound.

    Args:
        graph: to look into.
        layers: that it must compute.
        features: ``(rows, n_features)`` float32, the batch that went wrong.
        index: ``(rows,)`` the number of each row, for the message.
        gaps: that are filled before the first layer.
        keeps_specials: whether rows without a finite answer are judged.

    Returns:
        A sentence without a full stop.
    """
    expected = _Expected(layers, gaps.fill(features) if gaps else features)
    inputs = _Stage("features", -1)
    stages = {} if gaps else {graph.features: inputs}
    for node in graph.nodes:
        source = next((stages[name] for name in node.inputs if name in stages), None)
        if kind_of(node.op) in _FILLED and gaps and not stages:
            source = inputs  # what fills gaps ends in their marks beside the inputs
        if source is None:
            continue  # made of constants alone, or on the way to that
        stages[node.output] = stage = _expect(node, source, graph, len(layers))
        if stage.kind == "way":
            continue
        promised = expected.of(stage, keeps_specials=keeps_specials)
        reason = _compare(node, promised, features, index)
        if reason:
            return f"first diverging node: {node.name} ({node.op}), output {node.output}: {reason}"
    return (
        f"no node diverges when its value is read: the {len(graph.nodes)} nodes are right one by "
        "one, not as the engine joins them"
    )


def _expect(node: Node, source: _Stage, graph: Graph, layers: int) -> _Stage:
    """Say what a node's output stands for, from what its input stands for and what it does."""
    kind = kind_of(node.op)
    role = graph.roles.get(node.output, _ANSWERS.get(kind))
    if role:
        return _Stage("sum" if role == "logits" else role, layers - 1)
    if source.kind == "way" or not _logits(graph).isdisjoint(node.inputs):
        return replace(source, kind="way")
    if kind in _LINEAR + _PRODUCT:
        bare = kind in _PRODUCT and _is_added_to(node, graph)
        return _Stage("product" if bare else "sum", min(source.layer + 1, layers - 1))
    if kind in _SUM and source.kind == "product":
        return replace(source, kind="sum")
    if source.kind == "sum" and source.layer < layers - 1:
        return replace(source, kind="relu")
    return source  # whatever else is done must change nothing


def _logits(graph: Graph) -> set[str]:
    """Names of the logits: the output, and what it is a copy of."""
    names = {name for name, role in graph.roles.items() if role == "logits"}
    copies = [
        node.inputs[0]
        for node in graph.nodes
        if node.output in names and kind_of(node.op) == "identity"
    ]
    return names.union(copies)


def _is_added_to(node: Node, graph: Graph) -> bool:
    return any(node.output in other.inputs and kind_of(other.op) in _SUM for other in graph.nodes)


class _Expected:
    """The oracle's values, stage by stage."""

    def __init__(self, layers: Sequence[Layer], features: Float32Matrix) -> None:
        exact = features.astype(np.float64)
        current = Enclosure(exact, np.zeros_like(exact))
        known = {_Stage("features", -1): current}
        for position, layer in enumerate(layers):
            bare = Layer(layer.weight, np.zeros_like(layer.bias))
            known[_Stage("product", position)] = enclose_linear(bare, current, FLOAT32)
            current = enclose_linear(layer, current, FLOAT32)
            known[_Stage("sum", position)] = current
            current = enclose_relu(current)
            known[_Stage("relu", position)] = current
        self._known: Mapping[_Stage, Enclosure] = known
        self._logits = known[_Stage("sum", len(layers) - 1)]

    def of(self, stage: _Stage, *, keeps_specials: bool) -> Enclosure:
        """The oracle's value for a stage, ``(rows, width)``; a label is a column of its own."""
        found = self._of(stage)
        if keeps_specials:
            return found
        ordinary = rows_with_all(np.isfinite(found.value))[:, None]  # (rows, 1)
        return Enclosure(found.value, np.where(ordinary, found.error, np.inf))

    def _of(self, stage: _Stage) -> Enclosure:
        if stage.kind == "probabilities":
            return enclose_probabilities(self._logits, FLOAT32)
        return self._label() if stage.kind == "label" else self._known[stage]

    def _label(self) -> Enclosure:
        value, error = self._logits.value, self._logits.error  # (rows, classes)
        label = value.argmax(axis=1)[:, None]  # (rows, 1)
        with np.errstate(invalid="ignore"):  # inf - inf: nothing is promised there
            lowest = np.take_along_axis(value - error, label, axis=1)
            highest = value + error
        np.put_along_axis(highest, label, -np.inf, axis=1)
        sure = lowest > highest.max(axis=1, keepdims=True)  # (rows, 1)
        return Enclosure(label.astype(np.float64), np.where(sure, 0.0, np.inf))


def _compare(
    node: Node,
    expected: Enclosure,
    features: Float32Matrix,
    index: npt.NDArray[np.int64],
) -> str | None:
    """Describe the first number of a node's value that is outside its bound."""
    try:
        value = node.value(features)
    except Exception as exc:  # noqa: BLE001 - whatever the engine raises, this node raised it
        return textwrap.shorten(
            f"it raised {type(exc).__name__}: {exc}", width=_LONGEST_REASON, placeholder=" …"
        )
    if np.issubdtype(value.dtype, np.floating) and value.dtype != np.float32:
        return f"got {value.dtype}, expected float32"
    got = _as_columns(value)
    if got.shape != expected.value.shape:
        return f"got shape {got.shape}, expected {expected.value.shape}"
    judged = rows_with_all(np.isfinite(expected.error))
    violation = Comparison(node.output, got, expected, judged).first_violation()
    return f"row {index[violation.row]}: {violation.reason}" if violation else None


def _as_columns(value: Value) -> Float32Matrix:
    """A matrix; a column of labels is one."""
    wide = value if value.ndim > 1 else value[:, None]
    return wide.astype(np.float32)
