"""Softmax of two classes as a file has it: right, NaN and infinity in the same places."""

from __future__ import annotations

import math
from itertools import product
from typing import TYPE_CHECKING

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper
from onnx.reference import ReferenceEvaluator

from exporter.formats.onnx import expand_softmax
from exporter.parity.backends import SessionConfig, session_configs
from exporter.reference.intervals import Enclosure
from exporter.reference.softmax import enclose_probabilities

if TYPE_CHECKING:
    from runtime.schema.features import Float32Matrix

SPECIAL = (math.nan, math.inf, -math.inf, 0.0, 1.0, -1.0, 88.0, -104.0, 3e38, -3e38, 1e-40)
PAIRS = np.array(list(product(SPECIAL, SPECIAL)), np.float32)  # (121, 2)


def softmax_model(classes: int, axis: int = 1) -> onnx.ModelProto:
    """A model whose features are its logits."""
    nodes = [
        helper.make_node("Identity", ["features"], ["logits"], "copy"),
        helper.make_node("ArgMax", ["logits"], ["label"], "largest", axis=1, keepdims=0),
        helper.make_node("Softmax", ["logits"], ["probabilities"], "softmax", axis=axis),
    ]
    shape: list[str | int | None] = ["batch", classes]
    graph = helper.make_graph(
        nodes,
        "answers",
        [helper.make_tensor_value_info("features", TensorProto.FLOAT, shape)],
        [
            helper.make_tensor_value_info("label", TensorProto.INT64, ["batch"]),
            helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, shape),
            helper.make_tensor_value_info("logits", TensorProto.FLOAT, shape),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    expand_softmax(model)
    onnx.checker.check_model(model, full_check=True)
    return model


TWO = softmax_model(2).SerializeToString()


def exact(logits: Float32Matrix) -> Enclosure:
    """The probabilities and what they may be off."""
    return enclose_probabilities(Enclosure(logits.astype(np.float64), np.zeros(logits.shape)))


@pytest.mark.parametrize("setting", session_configs(), ids=lambda each: each.name)
def test_special_logits_are_answered_as_softmax_does(setting: SessionConfig) -> None:
    """NaN where the largest is infinite, 0 and 1 where the smallest is: alone and in a batch."""
    run = setting.open(TWO, where="two classes").run
    batches = [PAIRS, *(PAIRS[at : at + 1] for at in range(len(PAIRS)))]
    got = np.concatenate([run(batch).probabilities for batch in batches])
    expected = exact(np.concatenate(batches))
    np.testing.assert_array_equal(np.isnan(got), np.isnan(expected.value))
    inside = ~np.isnan(got)
    assert (np.abs(got - expected.value)[inside] <= expected.error[inside]).all()


@given(st.integers(0, 2**32 - 1), st.floats(-2, 2.2), st.integers(0, 300))
def test_ordinary_logits_stay_within_the_bound(seed: int, power: float, rows: int) -> None:
    """The rounding of the operations is within the bound of softmax."""
    random = np.random.default_rng(seed)
    logits = (random.normal(size=(rows, 2)) * 10.0**power).astype(np.float32)
    expected = exact(logits)
    got = session_configs()[0].open(TWO, where="two classes").run(logits).probabilities
    assert (np.abs(got - expected.value) <= expected.error).all()


def test_onnx_itself_computes_the_same() -> None:
    """The operations mean in any engine what they mean in onnxruntime."""
    finite = PAIRS[np.isfinite(PAIRS).all(axis=1)]
    with np.errstate(over="ignore"):
        got = np.array(ReferenceEvaluator(TWO).run(["probabilities"], {"features": finite}))[0]
    expected = exact(finite)
    assert (np.abs(got - expected.value) <= expected.error).all()


@pytest.mark.parametrize(("classes", "axis"), [(3, 1), (2, 0)])
def test_another_softmax_is_left_alone(classes: int, axis: int) -> None:
    """Other class counts and axes keep Softmax: nothing is corrected silently."""
    kinds = [node.op_type for node in softmax_model(classes, axis).graph.node]
    assert kinds == ["Identity", "ArgMax", "Softmax"]
