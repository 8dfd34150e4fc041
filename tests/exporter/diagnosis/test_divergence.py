from __future__ import annotations

import dataclasses
import re
import shlex
import shutil
from collections.abc import Callable
from typing import TYPE_CHECKING

import msgspec
import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper
from torch import nn
from typer.testing import CliRunner

from exporter.bundling import check_candidate, export
from exporter.cli import app
from exporter.diagnosis.divergence import find_divergence
from exporter.formats.deployed import Deployed
from exporter.formats.graphs import onnx_graph, program_graph, torchscript_graph
from exporter.formats.program import capture_program, load_program, write_program
from exporter.formats.torchscript import load_torchscript, write_torchscript
from exporter.parity import rows as parity_rows
from exporter.parity.backends import session_configs
from exporter.verify import verify_bundle
from runtime.bundle.manifest import MANIFEST, ONNX_MODEL, parse_manifest
from runtime.bundle.reading import digest
from runtime.errors import ParityError, UsageError

if TYPE_CHECKING:
    from pathlib import Path

    from exporter.formats.graphs import Graph
    from exporter.formats.model_files import ModelFiles
    from exporter.parity.backends import SessionConfig
    from exporter.parity.rows import ParityRows, Plan
    from exporter.reference.layers import Layer
    from runtime.schema.features import Float32Matrix
    from trainer.run import Run

pytestmark = pytest.mark.slow

Edit = Callable[[onnx.ModelProto], None]
Outputs = tuple[torch.Tensor, torch.Tensor, torch.Tensor]


def change(name: str, make: Callable[[np.ndarray], np.ndarray]) -> Edit:
    """Replace a weight or bias."""

    def edit(model: onnx.ModelProto) -> None:
        (tensor,) = (each for each in model.graph.initializer if each.name == name)
        values = make(numpy_helper.to_array(tensor).copy()).astype(np.float32)
        tensor.CopyFrom(numpy_helper.from_array(values, name))

    return edit


def replace_operator(old: str, new: str) -> Edit:
    """Let the first node of a kind do something else."""

    def edit(model: onnx.ModelProto) -> None:
        node = next(node for node in model.graph.node if node.op_type == old)
        node.op_type = new
        del node.attribute[:]

    return edit


def split_gemm(wrong_at: str) -> Edit:
    """Write the first layer as a product and a sum, and spoil one of them."""

    def edit(model: onnx.ModelProto) -> None:
        gemm = model.graph.node[0]
        _, weight, bias = gemm.input
        change(weight, np.transpose)(model)
        spoilt = {"product": weight, "sum": bias}[wrong_at]
        change(spoilt, lambda values: values * np.float32(1.01))(model)
        product = onnx.helper.make_node("MatMul", ["features", weight], ["product"], name="by")
        total = onnx.helper.make_node("Add", ["product", bias], list(gemm.output), name="plus")
        model.graph.node.remove(gemm)
        model.graph.node.insert(0, total)
        model.graph.node.insert(0, product)

    return edit


def scale_first(model: onnx.ModelProto) -> None:
    """Standardise what is standardised already."""
    model.graph.initializer.append(numpy_helper.from_array(np.array(2, np.float32), "two"))
    node = onnx.helper.make_node("Div", ["features", "two"], ["scaled"], name="scale")
    model.graph.node[0].input[0] = "scaled"
    model.graph.node.insert(0, node)


def freeze(model: onnx.ModelProto) -> None:
    """Reshape to two rows."""
    model.graph.initializer.append(numpy_helper.from_array(np.array([2, 2]), "two_rows"))
    node = onnx.helper.make_node("Reshape", ["features", "two_rows"], ["two"], name="freeze")
    model.graph.node[0].input[0] = "two"
    model.graph.node.insert(0, node)


FIRST, SECOND = "model.layers.0.weight", "model.layers.2.weight"
ONNX_FAULTS: dict[str, tuple[Edit, str]] = {
    "first weight": (
        change(FIRST, lambda w: w * np.float32(1.001)),
        r"node_linear \(Gemm\), output linear: row 17: got linear\[\d+\] = \S+, expected \S+ ± ",
    ),
    "no first bias": (change("model.layers.0.bias", np.zeros_like), r"node_linear \(Gemm\)"),
    "NaN": (change(FIRST, lambda w: w * np.nan), r"node_linear \(Gemm\).* = nan, expected "),
    "second weight": (change(SECOND, lambda w: w[::-1]), r"node_linear_1 \(Gemm\), output logits"),
    "product": (split_gemm("product"), r"by \(MatMul\), output product"),
    "sum": (split_gemm("sum"), r"plus \(Add\), output linear"),
    "no ReLU": (replace_operator("Relu", "Identity"), r"node_relu \(Identity\), output relu"),
    "sigmoid": (
        replace_operator("Reciprocal", "Sigmoid"),
        r"node_softmax \(Sigmoid\), output probabilities",
    ),
    "odds": (
        change("two_classes.one", lambda one: one * np.float32(1.001)),
        r"node_softmax \(Reciprocal\), output probabilities",
    ),
    "scaled twice": (scale_first, r"scale \(Div\), output scaled: row 17: got scaled\[0\] = "),
    "frozen": (freeze, r"freeze \(Reshape\), output two: it raised ArtifactError: onnxruntime"),
}


def edited(content: bytes, edit: Edit) -> bytes:
    model = onnx.load_from_string(content)
    edit(model)
    result: bytes = model.SerializeToString()
    return result


def diverging(graph: Graph, layers: tuple[Layer, ...], features: Float32Matrix) -> str:
    """Seek among five rows, numbered from 17."""
    return find_divergence(graph, layers, features[:5], np.arange(17, 22))


@pytest.mark.parametrize("fault", ONNX_FAULTS)
@pytest.mark.parametrize(
    "config", [session_configs()[0], session_configs()[7]], ids=lambda each: each.name
)
def test_the_first_wrong_node_of_an_onnx_model_is_named(
    fault: str,
    config: SessionConfig,
    files: ModelFiles,
    layers: tuple[Layer, ...],
    rows: ParityRows,
) -> None:
    """Name, operation, output and value of the first diverging node, not of a later one."""
    edit, said = ONNX_FAULTS[fault]
    graph = onnx_graph(edited(files.onnx, edit), config.open)
    assert re.match(f"first diverging node: {said}", diverging(graph, layers, rows.features))


class Faulty(nn.Module):
    """The deployed model with a step before, between or after its layers."""

    def __init__(self, model: nn.Module, where: str, step: Callable[..., torch.Tensor]) -> None:
        super().__init__()
        self.model, self._where, self._step = model, where, step

    def forward(self, features: torch.Tensor) -> Outputs:
        first, relu, second = self.model.layers  # type: ignore[misc]  # a Sequential
        values = self._step(features) if self._where == "before" else features
        hidden = self._step(first(values)) if self._where == "relu" else relu(first(values))
        logits = second(hidden)
        logits = self._step(logits) if self._where == "after" else logits
        return logits.argmax(dim=1), torch.softmax(logits, dim=1), logits


TORCH_FAULTS: dict[str, tuple[str, Callable[..., torch.Tensor], str]] = {
    "NaN turned into 0": ("before", torch.nan_to_num, "nan_to_num"),
    "tanh for ReLU": ("relu", torch.tanh, "tanh"),
    "dropout": ("after", lambda x: torch.dropout(x, 0.5, train=True), "dropout"),
    "float64": ("before", lambda x: x.double().float() + 1, "got float64, expected float32"),
}


@pytest.mark.parametrize("kind", ["torchscript", "program"])
@pytest.mark.parametrize("fault", TORCH_FAULTS)
def test_the_first_wrong_node_of_a_torch_file_is_named(
    fault: str, kind: str, run: Run, layers: tuple[Layer, ...], rows: ParityRows
) -> None:
    """TorchScript and the exported program are inspected likewise."""
    where, step, said = TORCH_FAULTS[fault]
    faulty = Faulty(run.model, where, step).eval()
    if kind == "torchscript":
        content = write_torchscript(faulty, run.record.schema)
        graph = torchscript_graph(load_torchscript(content, where="it"))
    else:
        content = write_program(capture_program(faulty, run.record.schema))
        graph = program_graph(load_program(content, where="it").module())
    features = rows.features[rows.group("special")]  # NaN first
    reason = diverging(graph, layers, features)
    assert reason.startswith("first diverging node: ")
    assert said in reason


def test_a_right_graph_has_no_diverging_node(
    files: ModelFiles, run: Run, layers: tuple[Layer, ...], rows: ParityRows
) -> None:
    """Nothing is found where nothing is wrong, special rows and boundaries included."""
    index = np.arange(len(rows.features))
    graphs = [
        *(
            onnx_graph(files.onnx, config.open)
            for config in session_configs()
            if config.provider == "cpu"
        ),
        torchscript_graph(load_torchscript(files.torchscript, where="it")),
        program_graph(load_program(files.program, where="it").module()),
    ]
    for graph in graphs:
        assert len(graph.nodes) >= 5
        reason = find_divergence(graph, layers, rows.features, index)
        assert reason.startswith("no node diverges when its value is read: ")
    deployed = Deployed(run.model)
    with torch.inference_mode():
        expected = deployed(torch.from_numpy(rows.features[:5]))
    for graph in graphs:
        for role, output in zip(("label", "probabilities", "logits"), expected, strict=True):
            (node,) = (each for each in graph.nodes if graph.roles.get(each.output) == role)
            assert np.allclose(node.value(rows.features[:5]), output.numpy(), atol=1e-5)


AGAIN = re.compile(r"reproduce it with `exporter ([^`]*)`; ")


def blame(message: str) -> str:
    """The failure's message: backend, batch, row, numbers, node."""
    return message[message.index("first in") : message.index("reproduce it")]


def test_the_command_of_a_failed_export_shows_the_failure_again(
    run_folder: Path,
    files: ModelFiles,
    quick: Plan,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The command in the message runs one cell, fails with exit code 5, publishes nothing."""
    edit, _ = ONNX_FAULTS["second weight"]
    wrong = dataclasses.replace(files, onnx=edited(files.onnx, edit))
    with pytest.raises(ParityError) as first:
        export(run_folder, tmp_path / "bundle", convert=lambda _: wrong, plan=quick)
    said = AGAIN.search(str(first.value))
    assert said is not None
    monkeypatch.setattr(parity_rows, "FULL", quick)
    monkeypatch.chdir(tmp_path)
    defaults: dict[str, object] = check_candidate.__kwdefaults__ or {}
    monkeypatch.setitem(defaults, "convert", lambda _: wrong)
    again = CliRunner().invoke(app, shlex.split(said[1]))
    assert isinstance(again.exception, ParityError)
    assert blame(str(again.exception)) == blame(str(first.value))
    assert "parity failed in 1 of 1 runs" in str(again.exception)
    assert not list(tmp_path.iterdir())
    monkeypatch.undo()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(parity_rows, "FULL", quick)
    fixed = CliRunner().invoke(app, shlex.split(said[1]))
    assert fixed.exit_code == 0
    assert fixed.stderr.endswith("partial run: nothing was published\n")
    assert not list(tmp_path.iterdir())


def test_the_command_of_a_failed_verification_shows_the_failure_again(
    bundle: Path, quick: Plan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A bundle whose model differs on a few rows alone, in a folder with a blank."""
    folder = spoil(bundle, tmp_path / "my bundle")
    monkeypatch.setattr(parity_rows, "FULL", quick)
    first = CliRunner().invoke(app, ["verify", str(folder)])
    assert isinstance(first.exception, ParityError)
    message = str(first.exception)
    assert re.search(r"batch 1: known row \d+, features .* first diverging node: ", message)
    said = AGAIN.search(message)
    assert said is not None
    assert "'" in said[1]  # the folder's name has a blank
    again = CliRunner().invoke(app, shlex.split(said[1]))
    assert isinstance(again.exception, ParityError)
    assert blame(str(again.exception)) == blame(message)


def spoil(bundle: Path, folder: Path) -> Path:
    """Copy a bundle with a unit added to the ONNX model that is on in a corner of the ranges."""
    shutil.copytree(bundle, folder)

    def edit(model: onnx.ModelProto) -> None:
        change(FIRST, lambda w: np.concatenate([w, [[1, 1]]]))(model)
        change("model.layers.0.bias", lambda b: np.append(b, -14.9))(model)
        change(SECOND, lambda w: np.concatenate([w, [[1], [1]]], axis=1))(model)

    content = edited((folder / ONNX_MODEL).read_bytes(), edit)
    (folder / ONNX_MODEL).write_bytes(content)
    manifest = parse_manifest((folder / MANIFEST).read_bytes(), where=MANIFEST)
    files = {**manifest.files, ONNX_MODEL: digest(content)}
    version = files[ONNX_MODEL].sha256[: len(manifest.model.version)]
    model = msgspec.structs.replace(manifest.model, version=version)
    manifest = msgspec.structs.replace(manifest, files=files, model=model)
    (folder / MANIFEST).write_bytes(manifest.to_json())
    return folder


def test_a_part_of_the_proof_can_be_asked_for(
    bundle: Path, quick: Plan, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One backend, one batch size, also one that is not among the usual ones."""
    monkeypatch.setattr(parity_rows, "FULL", quick)
    alone = verify_bundle(bundle, plan=quick.only("onnx-cpu-basic-2", None, None))
    assert alone.backends == ("onnx-cpu-basic-2",)
    assert len(alone.cells) == 12
    odd = verify_bundle(bundle, plan=quick.only("numpy", 5, 4))
    assert [(cell.backend, cell.batch, cell.rows) for cell in odd.cells] == [("numpy", 5, 5)]
    usual = CliRunner().invoke(app, ["verify", str(bundle), "--batch", "33"])
    assert usual.exit_code == 0
    assert "batches of 33, up to" in usual.stdout


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--contender", "tensorrt"], "unknown backend 'tensorrt'; available: eager, "),
        (["--row", "3"], "--row needs --batch, 1 or more"),
        (["--row", "3", "--batch", "0"], "--row needs --batch, 1 or more"),
        (["--batch", "-1"], "--batch must be 0 or more, got -1"),
        (["--row", "3000", "--batch", "7"], "row 3000 is not among the"),
        (["--row", "-3", "--batch", "65537"], "row -3 is not among the"),
    ],
    ids=["backend", "row alone", "row of none", "negative", "row not run", "negative row"],
)
def test_a_part_that_is_not_there_is_a_usage_error(
    options: list[str], said: str, bundle: Path, quick: Plan, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Exit code 2, and the message lists the available ones."""
    monkeypatch.setattr(parity_rows, "FULL", quick)
    done = CliRunner().invoke(app, ["verify", str(bundle), *options])
    assert isinstance(done.exception, UsageError)
    assert said in str(done.exception)


def test_a_part_of_the_proof_is_not_published(
    run_folder: Path, quick: Plan, tmp_path: Path
) -> None:
    """The function that publishes refuses it."""
    with pytest.raises(UsageError, match="a partial plan proves nothing"):
        export(run_folder, tmp_path / "bundle", plan=quick.only("numpy", None, None))
