from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper
from torch import nn

from exporter.export import export_run
from exporter.formats.deployed import Deployed
from exporter.formats.torchscript import write_torchscript
from exporter.rows.plan import Plan
from runtime.bundle import read_bundle
from runtime.errors import ArtifactError, ParityError, UsageError
from runtime.golden import check_golden, load_golden
from runtime.manifest import (
    GOLDEN,
    MANIFEST,
    ONNX_MODEL,
    PARITY,
    PROGRAM_MODEL,
    TORCHSCRIPT_MODEL,
)
from runtime.session import Session
from trainer.model import SimpleNet
from trainer.run import Run, load_run, save_run

if TYPE_CHECKING:
    from pathlib import Path

    from exporter.formats.model_files import ModelFiles

QUICK = Plan(uniform=4096, boundary=512, small=128, medium=2048)
Edit = Callable[[onnx.ModelProto], None]
Outputs = tuple[torch.Tensor, torch.Tensor, torch.Tensor]
Answer = Callable[[SimpleNet, torch.Tensor], Outputs]
PARAMETERS = (
    "model.layers.0.weight",
    "model.layers.0.bias",
    "model.layers.2.weight",
    "model.layers.2.bias",
)


def contents(folder: Path) -> dict[str, bytes]:
    """Every file of a folder."""
    return {file.name: file.read_bytes() for file in folder.iterdir()}


def change(parameter: str, make: Callable[[np.ndarray], np.ndarray]) -> Edit:
    """Replace a weight or bias of the ONNX model."""

    def edit(model: onnx.ModelProto) -> None:
        (tensor,) = (each for each in model.graph.initializer if each.name == parameter)
        values = make(numpy_helper.to_array(tensor).copy())
        tensor.CopyFrom(numpy_helper.from_array(values.astype(np.float32), parameter))

    return edit


def with_first(value: float) -> Callable[[np.ndarray], np.ndarray]:
    """Put a value into the first place."""

    def make(values: np.ndarray) -> np.ndarray:
        values.flat[0] = value
        return values

    return make


def replace_operator(old: str, new: str, **attributes: float) -> Edit:
    """Let the first node of a kind do something else."""

    def edit(model: onnx.ModelProto) -> None:
        node = next(node for node in model.graph.node if node.op_type == old)
        node.op_type = new
        del node.attribute[:]
        node.attribute.extend(
            onnx.helper.make_attribute(name, value) for name, value in attributes.items()
        )

    return edit


def swap_outputs(model: onnx.ModelProto) -> None:
    first, second = model.graph.output[1], model.graph.output[2]
    first.name, second.name = second.name, first.name


def swap_names_in_metadata(model: onnx.ModelProto) -> None:
    (entry,) = (e for e in model.metadata_props if e.key == "onnxferry.classes")
    entry.value = '["yes","no"]'


def freeze_input(model: onnx.ModelProto) -> None:
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 2


def freeze_inside(model: onnx.ModelProto) -> None:
    """Reshape to two rows, with inputs and outputs still promising any number."""
    model.graph.initializer.append(numpy_helper.from_array(np.array([2, 2]), "two_rows"))
    reshape = onnx.helper.make_node("Reshape", ["features", "two_rows"], ["reshaped"])
    model.graph.node[0].input[0] = "reshaped"
    model.graph.node.insert(0, reshape)


def flip(parameter: str, bit: int) -> Edit:
    """Flip one bit of the first number."""

    def make(values: np.ndarray) -> np.ndarray:
        values.view(np.uint32).flat[0] ^= np.uint32(1 << bit)
        return values

    return change(parameter, make)


ONNX_FAULTS: dict[str, Edit] = {
    "a weight a thousandth too large": change(PARAMETERS[2], lambda w: w * np.float32(1.001)),
    "a flipped mantissa bit": flip(PARAMETERS[2], 16),
    "a weight that is NaN": change(PARAMETERS[0], with_first(np.nan)),
    "no bias": change(PARAMETERS[1], np.zeros_like),
    "columns swapped": change(PARAMETERS[0], lambda w: w[:, ::-1]),
    "classes swapped": change(PARAMETERS[2], lambda w: w[::-1]),
    "half precision": change(PARAMETERS[0], lambda w: w.astype(np.float16)),
    "LeakyRelu for Relu": replace_operator("Relu", "LeakyRelu"),
    "Sigmoid for Softmax": replace_operator("Softmax", "Sigmoid"),
    "Softmax over the batch": replace_operator("Softmax", "Softmax", axis=0),
    "last of equal classes": replace_operator(
        "ArgMax", "ArgMax", axis=1, keepdims=0, select_last_index=1
    ),
    "smallest for largest": replace_operator("ArgMax", "ArgMin", axis=1, keepdims=0),
    "batch frozen": freeze_input,
    "batch frozen inside": freeze_inside,
    "outputs swapped": swap_outputs,
    "class names swapped": swap_names_in_metadata,
}


class Faulty(nn.Module):
    """A deployed model with one thing done differently."""

    def __init__(self, model: SimpleNet, answer: Answer) -> None:
        super().__init__()
        self.model = model
        self._answer = answer

    def forward(self, features: torch.Tensor) -> Outputs:
        return self._answer(self.model, features)


def complete(logits: torch.Tensor) -> Outputs:
    """The contract's outputs of some logits."""
    return logits.argmax(dim=1), torch.softmax(logits, dim=1), logits


def last_of_equal(model: SimpleNet, features: torch.Tensor) -> Outputs:
    logits = model(features)
    rounded = (logits * 2).round()  # many ties, so that they are met
    flipped = rounded.flip(1).argmax(dim=1)
    return 1 - flipped, torch.softmax(logits, dim=1), logits


def sigmoid(model: SimpleNet, features: torch.Tensor) -> Outputs:
    logits = model(features)
    return logits.argmax(dim=1), torch.sigmoid(logits), logits


def narrow_label(model: SimpleNet, features: torch.Tensor) -> Outputs:
    label, probabilities, logits = complete(model(features))
    return label.int(), probabilities, logits


TORCHSCRIPT_FAULTS: dict[str, Answer] = {
    "another label than its logits say": last_of_equal,
    "sigmoid for softmax": sigmoid,
    "label int32": narrow_label,
    "float64 inside": lambda model, x: complete(model.double()(x.double())),
    "dropout left on": lambda model, x: complete(torch.dropout(model(x), 0.1, train=True)),
    "NaN turned into 0": lambda model, x: complete(model(torch.nan_to_num(x))),
    "batch frozen": lambda model, x: complete(model(x.reshape(2, 2))),
    "standardised twice": lambda model, x: complete(model((x - 5) / 2)),
}


def edited(files: ModelFiles, edit: Edit) -> ModelFiles:
    """The same files with a change in the ONNX model."""
    model = onnx.load_from_string(files.onnx)
    edit(model)
    return dataclasses.replace(files, onnx=model.SerializeToString())


def check_refused(run_folder: Path, out: Path, files: ModelFiles) -> str:
    """Export must fail with exit code 5 and leave nothing behind; returns the message."""
    with pytest.raises(ParityError) as caught:
        export_run(run_folder, out, convert=lambda _: files, plan=QUICK)
    assert caught.value.exit_code == 5
    assert not out.exists()
    assert list(out.parent.iterdir()) == []
    return str(caught.value)


@pytest.mark.parametrize("fault", ONNX_FAULTS)
def test_a_wrong_onnx_model_is_not_published(
    fault: str, run_folder: Path, files: ModelFiles, tmp_path: Path
) -> None:
    """Whatever is wrong with model.onnx, there is no bundle."""
    check_refused(run_folder, tmp_path / "bundle", edited(files, ONNX_FAULTS[fault]))


@pytest.mark.parametrize("fault", TORCHSCRIPT_FAULTS)
def test_a_wrong_torchscript_model_is_not_published(
    fault: str, run: Run, run_folder: Path, files: ModelFiles, tmp_path: Path
) -> None:
    """Whatever is wrong with model.torchscript.pt, there is no bundle."""
    model = load_run(run_folder).model  # its own, as faults may change it
    faulty = Faulty(model, TORCHSCRIPT_FAULTS[fault]).eval()
    content = write_torchscript(faulty, run.record.schema)
    wrong = dataclasses.replace(files, torchscript=content)
    assert "torchscript at batch" in check_refused(run_folder, tmp_path / "bundle", wrong)


def test_a_torchscript_model_of_another_seed_is_not_published(
    run: Run, run_folder: Path, files: ModelFiles, tmp_path: Path
) -> None:
    """A file left over from another run is noticed."""
    torch.manual_seed(5)
    stale = write_torchscript(Deployed(SimpleNet(2, 2)).eval(), run.record.schema)
    check_refused(run_folder, tmp_path / "bundle", dataclasses.replace(files, torchscript=stale))


@pytest.mark.parametrize("name", ["onnx", "torchscript"])
@pytest.mark.parametrize("kept", [0, 100, 0.5, 0.99], ids=str)
def test_a_truncated_file_is_not_published(
    name: str, kept: float, run_folder: Path, files: ModelFiles, tmp_path: Path
) -> None:
    """A file that ends too early is a failed export, not a damaged run."""
    content: bytes = getattr(files, name)
    end = int(kept * len(content)) if kept < 1 else int(kept)
    wrong = dataclasses.replace(files, **{name: content[:end]})
    check_refused(run_folder, tmp_path / "bundle", wrong)


def test_the_message_names_contender_batch_and_row(
    run_folder: Path, files: ModelFiles, tmp_path: Path
) -> None:
    """Whoever reads it knows what to run again: input, got, expected and bound."""
    wrong = edited(files, ONNX_FAULTS["a weight a thousandth too large"])
    message = check_refused(run_folder, tmp_path / "bundle", wrong)
    assert message.startswith(
        "parity failed in 88 of 144 runs, first in onnx-cpu-all-1 at batch 1: "
    )
    assert "known row 0, features [" in message
    assert "got logits[0] = " in message
    assert ", expected " in message
    assert " ± " in message
    assert message.endswith("; nothing was published")


def test_an_older_bundle_stays_when_parity_fails(
    run_folder: Path, files: ModelFiles, tmp_path: Path
) -> None:
    """A failed export leaves the bundle that serves as it was."""
    out = tmp_path / "bundle"
    export_run(run_folder, out, convert=lambda _: files, plan=QUICK)
    before = contents(out)
    wrong = edited(files, ONNX_FAULTS["no bias"])
    with pytest.raises(ParityError):
        export_run(run_folder, out, convert=lambda _: wrong, plan=QUICK)
    assert contents(out) == before
    assert list(tmp_path.iterdir()) == [out]


def test_a_new_bundle_replaces_the_old_one_as_a_whole(
    run_folder: Path, bundle: Path, files: ModelFiles, tmp_path: Path
) -> None:
    """Nothing of an older bundle stays behind."""
    out = tmp_path / "bundle"
    out.mkdir()
    (out / MANIFEST).write_text("older")
    (out / "left-over.txt").write_text("older")
    export_run(run_folder, out, convert=lambda _: files, plan=QUICK)
    assert contents(out) == contents(bundle)


def test_a_foreign_folder_is_not_replaced(run_folder: Path, tmp_path: Path) -> None:
    """A folder that is no bundle is a usage error, found before any work."""
    (tmp_path / "thesis.tex").write_text("years")
    with pytest.raises(UsageError, match=r"manifest\.json"):
        export_run(run_folder, tmp_path, convert=lambda _: pytest.fail("worked in vain"))
    assert contents(tmp_path) == {"thesis.tex": b"years"}


def test_a_damaged_run_is_an_artifact_error(run_folder: Path, tmp_path: Path) -> None:
    """Weights that are not those of the record are exit code 4."""
    run = load_run(run_folder)
    damaged = tmp_path / "run"
    damaged.mkdir()
    save_run(damaged, run)
    weights = damaged / "weights.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    with pytest.raises(ArtifactError, match=r"weights\.safetensors"):
        export_run(damaged, tmp_path / "bundle")


@pytest.mark.parametrize("value", [np.nan, np.inf], ids=str)
def test_a_diverged_model_is_not_published(run_folder: Path, tmp_path: Path, value: float) -> None:
    """A network of NaN answers NaN everywhere alike: that is no parity."""
    run = load_run(run_folder)
    with torch.no_grad():
        run.model.linear_layers()[0].weight[0, 0] = value
    (tmp_path / "run").mkdir()
    save_run(tmp_path / "run", run)
    with pytest.raises(ParityError, match="NaN or infinite"):
        export_run(tmp_path / "run", tmp_path / "bundle")
    assert not (tmp_path / "bundle").exists()


def test_a_bundle_is_complete_and_says_what_it_is(bundle: Path, run: Run) -> None:
    """Manifest, hashes, signature, provenance, requirements and proof are in it."""
    opened = read_bundle(bundle)
    manifest, record = opened.manifest, run.record
    assert set(opened.files) == {ONNX_MODEL, TORCHSCRIPT_MODEL, PROGRAM_MODEL, GOLDEN, PARITY}
    assert manifest.schema == record.schema
    assert manifest.training == record.metrics
    assert manifest.model.name == "simplenet"
    assert manifest.files[ONNX_MODEL].sha256.startswith(manifest.model.version)
    assert len(manifest.model.version) == 12
    provenance = manifest.provenance
    assert (provenance.seed, provenance.data_digest) == (11, record.data_digest)
    assert provenance.configuration == record.configuration
    assert set(provenance.versions) > {"torch", "onnx", "onnxscript", "onnxruntime", "numpy"}
    assert (manifest.requires.onnxruntime, manifest.requires.opset) == ("1.18", 20)
    assert manifest.requires.ir == onnx.load_from_string(opened.files[ONNX_MODEL]).ir_version


def test_golden_rows_pass_through_the_session_that_serves(bundle: Path) -> None:
    """A few dozen finite rows, test rows and corners among them, within their bounds."""
    opened = read_bundle(bundle)
    golden = load_golden(opened.files[GOLDEN], opened.manifest.schema, where="golden")
    check_golden(Session(opened.files[ONNX_MODEL], provider="cpu"), golden, where="bundle")
    assert 24 <= len(golden.features) <= 64
    assert np.isfinite(golden.features).all()
    assert golden.decidable.any()
    corners = {
        (np.float32(first), np.float32(second))
        for first in (
            opened.manifest.schema.features[0].minimum,
            opened.manifest.schema.features[0].maximum,
        )
        for second in (
            opened.manifest.schema.features[1].minimum,
            opened.manifest.schema.features[1].maximum,
        )
    }
    assert corners <= set(map(tuple, golden.features))


@pytest.mark.cuda
def test_cuda_takes_part_in_the_proof(run_folder: Path, files: ModelFiles, tmp_path: Path) -> None:
    """Where a GPU is, the bundle is proven on it too."""
    exported = export_run(run_folder, tmp_path / "bundle", convert=lambda _: files, plan=QUICK)
    assert {"onnx-cpu-all-1", "onnx-cuda-all-1"} < set(exported.report.contenders)
