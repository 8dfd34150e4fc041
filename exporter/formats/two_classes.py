"""Softmax of two classes, in operations that onnxruntime computes many numbers at a time.

With two classes softmax is ``1 / (1 + exp(other - own))``. onnxruntime's kernel of Softmax goes
from row to row and takes a third of a small model's time; with these operations a call of many rows
is a quarter shorter (benchmarks/results/softmax.md). In: an ONNX model. Out: the same model, the
Softmax of its probabilities replaced where there are two classes. No errors.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np
from onnx import helper, numpy_helper

if TYPE_CHECKING:
    import onnx

PROBABILITIES: Final = "probabilities"
_CONSTANTS: Final = {
    "two_classes.other_less_own": np.array([[-1, 1], [1, -1]], np.float32),
    # 0 x inf is NaN: so a row with an infinite logit has no finite answer, as softmax has it.
    "two_classes.nothing": np.zeros((2, 2), np.float32),
    "two_classes.one": np.array(1, np.float32),
}
_LESS, _NOTHING, _ONE = _CONSTANTS
# kind, inputs, output; the last one makes the probabilities
_STEPS: Final = (
    ("MatMul", ("logits", _LESS), "other_less_own"),
    ("Exp", ("other_less_own",), "odds_of_other"),
    ("Relu", ("logits",), "above_zero"),
    ("MatMul", ("above_zero", _NOTHING), "nothing"),
    ("Add", ("odds_of_other", "nothing"), "odds_or_nan"),
    ("Add", ("odds_or_nan", _ONE), "odds_of_all"),
    ("Reciprocal", ("odds_of_all",), PROBABILITIES),
)


def expand_softmax(model: onnx.ModelProto) -> None:
    """Replace the Softmax that makes the probabilities, where it has two classes.

    Args:
        model: with the contract's outputs; it is changed.
    """
    graph = model.graph
    at = next((at for at, node in enumerate(graph.node) if PROBABILITIES in node.output), None)
    if at is None or not _is_of_two(graph, graph.node[at]):
        return
    softmax = graph.node[at]
    following = list(graph.node)[at + 1 :]
    del graph.node[at:]
    graph.node.extend(_write(softmax.name, softmax.input[0]))
    graph.node.extend(following)
    graph.initializer.extend(
        numpy_helper.from_array(value, name) for name, value in _CONSTANTS.items()
    )


def _is_of_two(graph: onnx.GraphProto, node: onnx.NodeProto) -> bool:
    """Tell whether a node is the softmax of each row's two classes."""
    shape = next(
        value.type.tensor_type.shape for value in graph.output if value.name == PROBABILITIES
    )
    axes = [attribute.i for attribute in node.attribute if attribute.name == "axis"]
    return node.op_type == "Softmax" and axes in ([1], [-1], []) and shape.dim[-1].dim_value == 2  # noqa: PLR2004 - as it says


def _write(name: str, logits: str) -> list[onnx.NodeProto]:
    """Make the nodes that stand for a Softmax of that name; the last one keeps it."""
    values = {value: f"{name}/{value}" for _, _, value in _STEPS} | {"logits": logits}
    values |= {kept: kept for kept in (PROBABILITIES, *_CONSTANTS)}
    return [
        helper.make_node(
            kind,
            [values[value] for value in inputs],
            [values[output]],
            name if output == PROBABILITIES else values[output],
        )
        for kind, inputs, output in _STEPS
    ]
