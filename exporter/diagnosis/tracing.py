"""Find the first node of a graph that differs from the captured program of a measured model.

Nodes are matched by the name of their value, which the program shares with its conversion to ONNX;
in TorchScript, which numbers its values, the n-th operation of a kind matches the program's. The
tolerance of a value is measured on the failing batch, as ``reference.measured`` does.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import numpy as np

from exporter.formats.graphs import op_kind, program_graph
from exporter.formats.onnx import convert
from exporter.parity.verdict import Comparison, shorten
from exporter.reference.intervals import FLOAT32, Enclosure
from exporter.reference.measured import MARGIN, to_float64

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy.typing as npt
    from torch.export import ExportedProgram

    from exporter.formats.graphs import Graph, Node
    from exporter.reference.intervals import Float64Matrix
    from runtime.schema.features import Float32Matrix


def trace_divergence(
    open_graph: Callable[[], Graph],
    program: ExportedProgram,
    features: Float32Matrix,
    index: npt.NDArray[np.int64],
) -> str:
    """Name the first node whose value differs from the program's, in a clause for a message.

    ``features`` are the failing batch, ``(rows, n_features)``; ``index`` numbers its rows.
    """
    try:
        graph = open_graph()
        nodes = _by_key(graph)
        source = convert(program).exported_program if graph.dialect == "ONNX" else program
        module = (source or program).module()
        graphs = program_graph(to_float64(module)), program_graph(module)
        exact, narrow = (_by_key(each, like=graph) for each in graphs)
    except Exception as exc:  # noqa: BLE001 - torch raises almost anything
        return f"the graph cannot be compared with the model: {shorten(str(exc))}"
    for key in (key for key in nodes if key in exact):
        node = nodes[key]
        try:
            reason = _compare(node, exact[key], narrow[key], features, index)
        except Exception as exc:  # noqa: BLE001 - whatever the engine raises, this node raised it
            reason = f"it raised {type(exc).__name__}: {shorten(str(exc))}"
        if reason:
            return f"first diverging node: {node.name} ({node.op}), output {node.output}: {reason}"
    matched = len(nodes.keys() & exact.keys())
    return f"no node diverges when its value is read, of {matched} of {len(nodes)} in the model too"


def _by_key(graph: Graph, *, like: Graph | None = None) -> dict[str, Node]:
    """Return nodes by the role or name of their value, or by kind and number in TorchScript."""
    numbered = (like or graph).dialect == "TorchScript"
    seen: Counter[str] = Counter()
    keyed = {}
    for node in graph.nodes:
        kind = op_kind(node.op)
        name = f"{kind} {seen[kind]}" if numbered else node.output
        keyed[graph.roles.get(node.output, name)] = node
        seen[kind] += 1
    return keyed


def _compare(
    node: Node, exact: Node, narrow: Node, features: Float32Matrix, index: npt.NDArray[np.int64]
) -> str | None:
    """Describe the first number of a node's value that is outside float32's own error."""
    got, near = node.value(features), narrow.value(features)
    if got.dtype != near.dtype or got.shape != near.shape:
        return f"got {got.dtype} {got.shape}, expected {near.dtype} {near.shape}"
    wide = exact.value(features.astype(np.float64))
    rows = max(len(index), 1) if near.shape[:1] == index.shape else 1
    got, near, wide = (each.reshape(rows, -1).astype(np.float64) for each in (got, near, wide))
    enclosure = Enclosure(wide, _tolerances(wide, near))
    found = Comparison(node.output, got, enclosure, np.ones(rows, np.bool_)).first_violation()
    row = f"row {index[found.row]}: " if found and rows > 1 else ""
    return f"{row}{found.reason}" if found else None


def _tolerances(exact: Float64Matrix, near: Float64Matrix) -> Float64Matrix:
    """Return each row's tolerance; where float32 overflows, there is none."""
    with np.errstate(invalid="ignore"):  # inf - inf: not finite, and not counted
        error = np.abs(near - exact)
    finite = np.isfinite(error)
    worst = error.max(axis=1, keepdims=True, initial=0.0, where=finite)  # (rows, 1)
    largest = np.abs(exact).max(axis=1, keepdims=True, initial=FLOAT32.tiny, where=finite)
    same = (near == exact) | (np.isnan(near) & np.isnan(exact))
    tolerance = MARGIN * np.maximum(worst, FLOAT32.unit_roundoff * largest)
    return np.where(finite, tolerance, np.where(same, 0.0, np.inf))
