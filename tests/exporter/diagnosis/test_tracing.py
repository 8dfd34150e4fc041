from __future__ import annotations

import copy
import dataclasses
import re
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper
from torch import nn

from exporter.bundling import convert_candidate, export_candidate
from exporter.diagnosis.tracing import trace_divergence
from exporter.parity.backends import Backend, all_backends
from exporter.parity.rows import Plan
from exporter.parity.sampling import make_specials, ranges_of, sample_inside
from exporter.source.candidate import Candidate, candidate_from_module
from runtime.errors import ParityError
from runtime.schema.features import Feature, Schema

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch.export import ExportedProgram

    from exporter.formats.model_files import ModelFiles

pytestmark = pytest.mark.slow

SCHEMA = Schema("kind", tuple(Feature(name, -3.0, 3.0) for name in "abc"), ("w", "x", "y", "z"))
QUICK = Plan(uniform=512, boundary=64, small=16, medium=64)


class Branched(nn.Module):
    """Standardisation, an activation changed in place, a normalised branch with a gate."""

    std: torch.Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("std", torch.tensor([1.0, 2.0, 0.5]))
        self.first, self.gate, self.last = nn.Linear(3, 8), nn.Linear(8, 8), nn.Linear(8, 4)
        self.norm = nn.LayerNorm(8)
        self.activate: Callable[[torch.Tensor], torch.Tensor] = nn.functional.gelu

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        values = self.activate(self.first(features / self.std).relu_())
        values = values + self.norm(values) * torch.sigmoid(self.gate(values))
        scores: torch.Tensor = self.last(values)
        return scores


@pytest.fixture(scope="module")
def candidate() -> Candidate:
    """A model that no bound is derived for."""
    torch.manual_seed(3)
    return candidate_from_module(Branched().eval(), SCHEMA, name="mine")


@pytest.fixture(scope="module")
def right(candidate: Candidate) -> ModelFiles:
    """Its right files."""
    return convert_candidate(candidate)


@pytest.fixture(scope="module")
def program(candidate: Candidate) -> ExportedProgram:
    """Its captured graph."""
    assert candidate.reference.captured is not None
    return candidate.reference.captured


def by_name(files: ModelFiles) -> dict[str, Backend]:
    """Backends that have a graph, by name."""
    found = all_backends(files, None, (), where=Path())
    return {each.name: each for each in found if each.graph}


def trace(backend: Backend, program: ExportedProgram, features: np.ndarray | None = None) -> str:
    """Compare five rows, numbered from 17."""
    assert backend.graph is not None
    if features is None:
        features = sample_inside(ranges_of(SCHEMA))[:5]
    index = np.arange(17, 17 + len(features))
    return trace_divergence(backend.graph, program, features, index)


def of_another(candidate: Candidate, change: Callable[[Branched], object]) -> ModelFiles:
    """Files of a model with one thing changed."""
    model = copy.deepcopy(candidate.model)
    assert isinstance(model, Branched)
    with torch.no_grad():
        change(model)
    return convert_candidate(dataclasses.replace(candidate, model=model))


MODEL_FAULTS: dict[str, tuple[Callable[[Branched], object], dict[str, str]]] = {
    "standard deviation": (
        lambda model: model.std.mul_(1.001),
        {"ONNX": r"node_div \(Div\), output div", "torch": r"\S+ \(aten\S+div"},
    ),
    "first bias": (
        lambda model: model.first.bias.zero_(),
        {"ONNX": r"\S+ \(Gemm\), output linear", "torch": r"\S+ \(aten\S+linear"},
    ),
    # Its tanh does not occur in the model: the next node that does is named.
    "tanh for GELU": (
        lambda model: setattr(model, "activate", torch.tanh),
        {"ONNX": r"\S+ \(LayerNorm\w+\)", "torch": r"\S+ \(aten\S+layer_norm"},
    ),
    "epsilon": (
        lambda model: setattr(model.norm, "eps", 1e-3),
        {"ONNX": r"node_layer_norm \(LayerNorm\w+\)", "torch": r"\S+ \(aten\S+layer_norm"},
    ),
    "last weight": (
        lambda model: model.last.weight.mul_(1.001),
        {"ONNX": r"\S+ \(Gemm\), output logits", "torch": r"\S+ \(aten\S+linear"},
    ),
}


@pytest.mark.parametrize("fault", MODEL_FAULTS)
def test_the_first_wrong_node_of_a_measured_model_is_named(
    fault: str, candidate: Candidate, program: ExportedProgram
) -> None:
    """In every kind of file, though no layers define what it must compute."""
    change, words = MODEL_FAULTS[fault]
    backends = by_name(of_another(candidate, change))
    for name in ("torchscript", "program", "onnx-cpu-all-1", "onnx-cpu-disabled-2"):
        expected = words["ONNX" if name.startswith("onnx") else "torch"]
        reason = trace(backends[name], program)
        assert re.match(rf"first diverging node: {expected}.*: row 1\d: got .* ± ", reason), reason


def test_an_inserted_operation_shows_in_the_next_node(
    right: ModelFiles, program: ExportedProgram
) -> None:
    """A node that the model does not have cannot be compared; the next one is."""
    model = onnx.load_from_string(right.onnx)
    model.graph.initializer.append(numpy_helper.from_array(np.array(2, np.float32), "two"))
    model.graph.node[0].input[0] = "scaled"
    model.graph.node.insert(0, onnx.helper.make_node("Mul", ["features", "two"], ["scaled"], "by"))
    wrong = dataclasses.replace(right, onnx=model.SerializeToString())
    reason = trace(by_name(wrong)["onnx-cpu-all-1"], program)
    assert reason.startswith("first diverging node: node_div (Div), output div: row 17: got ")


def test_an_output_is_compared_by_its_role(right: ModelFiles, program: ExportedProgram) -> None:
    """A last operation that the model does not have is the one that makes the wrong logits."""
    model = onnx.load_from_string(right.onnx)
    model.graph.initializer.append(numpy_helper.from_array(np.array(2, np.float32), "two"))
    place = next(at for at, node in enumerate(model.graph.node) if "logits" in node.output)
    model.graph.node[place].output[0] = "cool"
    hot = onnx.helper.make_node("Mul", ["cool", "two"], ["logits"], "hot")
    model.graph.node.insert(place + 1, hot)
    wrong = dataclasses.replace(right, onnx=model.SerializeToString())
    reason = trace(by_name(wrong)["onnx-cpu-all-1"], program)
    assert reason.startswith("first diverging node: hot (Mul), output logits: row 17: ")


def test_a_node_that_raises_is_named(right: ModelFiles, program: ExportedProgram) -> None:
    """A batch that is frozen inside."""
    model = onnx.load_from_string(right.onnx)
    model.graph.initializer.append(numpy_helper.from_array(np.array([2, 8]), "two_rows"))
    node = next(node for node in model.graph.node if node.op_type == "Relu")
    node.input.append("two_rows")
    node.op_type = "Reshape"
    wrong = dataclasses.replace(right, onnx=model.SerializeToString())
    reason = trace(by_name(wrong)["onnx-cpu-all-1"], program)
    assert "node_relu (Reshape), output relu: it raised ArtifactError: onnxruntime" in reason


def test_a_right_graph_of_a_measured_model_has_no_diverging_node(
    right: ModelFiles, program: ExportedProgram
) -> None:
    """Special rows and rows far outside included."""
    inside = sample_inside(ranges_of(SCHEMA))[:300]
    features = np.concatenate([inside, make_specials(inside[0]), inside[:3] * np.float32(1e30)])
    for backend in by_name(right).values():
        for rows in (inside[:0], inside[:1], inside[:63], inside[:64], features[-60:], features):
            reason = trace(backend, program, rows)
            assert reason.startswith("no node diverges when its value is read, of "), reason


def test_a_graph_that_cannot_be_compared_is_said_to_be_so(program: ExportedProgram) -> None:
    """Nothing in common, or no graph that can be opened: the reason, in words."""
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node("Exp", ["features"], ["other"])],
        "other",
        [onnx.helper.make_tensor_value_info("features", 1, ["batch", 3])],
        [onnx.helper.make_tensor_value_info("other", 1, ["batch", 3])],
    )
    from exporter.formats.graphs import onnx_graph
    from exporter.parity.backends import run_numpy, session_configs

    content = onnx.helper.make_model(
        graph, ir_version=10, opset_imports=[onnx.helper.make_opsetid("", 20)]
    ).SerializeToString()
    open_session = session_configs()[0].open
    other = Backend("other", run_numpy(()), graph=partial(onnx_graph, content, open_session))
    reason = "no node diverges when its value is read, of 0 of 1 in the model too"
    assert trace(other, program) == reason
    noise = Backend("noise", run_numpy(()), graph=partial(onnx_graph, b"noise", open_session))
    assert trace(noise, program).startswith("the graph cannot be compared with the model: ")


def test_a_failed_export_of_a_measured_model_names_the_node(
    candidate: Candidate, right: ModelFiles, tmp_path: Path
) -> None:
    """The message that a user sees says where the failure comes from."""
    other = of_another(candidate, lambda model: model.gate.weight.mul_(1.01))
    wrong = dataclasses.replace(right, onnx=other.onnx)
    with pytest.raises(ParityError, match=r"; first diverging node: node_linear_1 \(Gemm\), out"):
        export_candidate(candidate, tmp_path / "out", convert=lambda _: wrong, plan=QUICK)
    wrong = dataclasses.replace(right, torchscript=other.torchscript)
    with pytest.raises(ParityError, match=r"torchscript .*; first diverging node: aten::linear "):
        export_candidate(candidate, tmp_path / "out", convert=lambda _: wrong, plan=QUICK)


def test_a_value_is_read_before_it_is_changed_in_place(candidate: Candidate) -> None:
    """The graphs of torch have operations that overwrite what came before."""
    features = sample_inside(ranges_of(SCHEMA))[:5]
    backends = by_name(convert_candidate(candidate))
    with torch.inference_mode():
        model = candidate.model
        assert isinstance(model, Branched)
        expected = model.first(torch.from_numpy(features) / model.std).numpy()
    assert (expected < 0).any()
    for name in ("torchscript", "program"):
        make = backends[name].graph
        assert make is not None
        node = next(node for node in make().nodes if "linear" in node.op)
        got = np.asarray(node.value(features), np.float32)
        np.testing.assert_allclose(got, expected, atol=1e-6)
