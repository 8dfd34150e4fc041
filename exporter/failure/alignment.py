"""Find the first node of a graph whose value is not what the captured model has there.

In: a graph, a captured model that was measured, and the rows that went wrong. Out: the node, in
words. No errors: where nothing can be said, it says so.

No layers tell what such a graph must compute, so its operations are laid beside those of the
captured model: both are lists of kinds of operations, and where these are the same, in the same
order, the values must be the same, too. What has no counterpart is named, and not compared.
"""

from __future__ import annotations

import textwrap
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import TYPE_CHECKING

import numpy as np

from exporter.failure.graphs import kind_of
from exporter.failure.known import known_steps
from exporter.proof.verdict import Comparison
from exporter.truth.enclosure import Enclosure

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import numpy.typing as npt

    from exporter.failure.graphs import Graph, Node, Value
    from exporter.failure.known import Known, Step
    from exporter.truth.truth import Captured
    from runtime.schema.features import Float32Matrix

_MOST_ROWS = 256  # that are compared, the one that went wrong among them
_SHOWN = 3  # nodes without counterpart that are named
_LONGEST_REASON = 300


@dataclass(frozen=True)
class Failed:
    """The batch that went wrong.

    Attributes:
        features: ``(rows, n_features)`` float32.
        index: ``(rows,)`` the number of each row, for messages.
        row: number of the row that went wrong; None where none is to blame.
        keeps_specials: whether rows without a finite answer are judged.
    """

    features: Float32Matrix
    index: npt.NDArray[np.int64]
    row: int | None = None
    keeps_specials: bool = True

    @property
    def compared(self) -> slice:
        """The rows that are compared."""
        at = 0 if self.row is None else int(np.searchsorted(self.index, self.row))
        start = max(min(at - _MOST_ROWS // 2, len(self.index) - _MOST_ROWS), 0)
        return slice(start, start + _MOST_ROWS)


def find_measured_divergence(
    make_graph: Callable[[], Graph], captured: Captured, failed: Failed
) -> str:
    """Name the first node whose value leaves what was measured of the captured model.

    Args:
        make_graph: opens the graph of the file that went wrong.
        captured: the model that it must compute.
        failed: the batch that went wrong.

    Returns:
        A sentence without a full stop.
    """
    try:
        graph = make_graph()
        steps = known_steps(captured, graph.language, failed.features[failed.compared])
    except Exception as exc:  # noqa: BLE001 - torch raises almost anything
        return f"the graph cannot be compared node by node: {_one_line(exc)}"
    known = _align(graph, steps)
    if not known:
        return (
            f"the graph cannot be compared node by node: none of its {len(graph.nodes)} nodes has "
            "a counterpart in the model"
        )
    unknown: list[Node] = []
    for node in graph.nodes:
        expected = known.get(node.output)
        if expected is None:
            unknown.append(node)
            continue
        reason = _compare(node, expected, failed)
        if reason:
            where = f"{node.name} ({node.op}), output {node.output}"
            return f"first diverging node: {where}: {reason}{_name_unknown(unknown)}"
        unknown = []
    return (
        f"no node diverges when its value is read, of the {len(known)} among {len(graph.nodes)} "
        "that have a counterpart in the model"
    )


def _align(graph: Graph, steps: Sequence[Step]) -> dict[str, Known]:
    """Find what is known of the graph's values, by name."""
    kinds = [kind_of(node.op) for node in graph.nodes]
    matcher = SequenceMatcher(None, kinds, [step.kind for step in steps], autojunk=False)
    known = {}
    for tag, start, end, other, other_end in matcher.get_opcodes():
        # One operation in the place of one other is meant to do the same.
        if tag == "equal" or (tag == "replace" and end - start == other_end - other == 1):
            for node, step in zip(graph.nodes[start:end], steps[other:other_end], strict=True):
                if step.known is not None:
                    known[node.output] = step.known
    answers = {step.role: step.known for step in steps if step.role and step.known}
    for node in graph.nodes:
        role = graph.roles.get(node.output)
        if role in answers:
            known[node.output] = answers[role]
    return known


def _compare(node: Node, known: Known, failed: Failed) -> str | None:
    """Describe the first number of a node's value that is not as it must be."""
    try:
        value = node.value(failed.features)
    except Exception as exc:  # noqa: BLE001 - whatever the engine raises, this node raised it
        return f"it raised {type(exc).__name__}: {_one_line(exc)}"
    value = _take_rows(value, known, failed)
    if value.dtype != known.dtype:
        return f"got {value.dtype}, expected {known.dtype}"
    if value.shape != known.shape:
        return f"got shape {value.shape}, expected {known.shape}"
    got, expected = known.as_rows(value), known.value
    if got.dtype != np.float32:
        got = got.astype(np.float64)  # truth values and numbers of rows
    if not failed.keeps_specials:
        error = np.where(np.isfinite(expected.value), expected.error, np.inf)
        expected = Enclosure(expected.value, error)
    violation = Comparison(node.output, got, expected, np.ones(len(got), np.bool_))
    found = violation.first_violation()
    if found is None:
        return None
    if known.axis is None:
        return found.reason
    return f"row {failed.index[failed.compared][found.row]}: {found.reason}"


def _take_rows(value: Value, known: Known, failed: Failed) -> Value:
    """Keep the rows that are compared, where the value has them all."""
    axis = known.axis
    if axis is None or axis >= value.ndim or value.shape[axis] != len(failed.index):
        return value
    place = [slice(None)] * value.ndim
    place[axis] = failed.compared
    return value[tuple(place)]


def _name_unknown(nodes: Sequence[Node]) -> str:
    if not nodes:
        return ""
    shown = ", ".join(f"{node.name} ({node.op})" for node in nodes[:_SHOWN])
    more = " …" if len(nodes) > _SHOWN else ""
    return f"; just before it, without a counterpart in the model: {shown}{more}"


def _one_line(exc: Exception) -> str:
    return textwrap.shorten(str(exc), width=_LONGEST_REASON, placeholder=" …")
