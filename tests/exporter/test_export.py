from __future__ import annotations

import dataclasses
import shutil
from typing import TYPE_CHECKING

import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper

from exporter.bundling import choose_golden, export
from exporter.parity.rows import Plan
from exporter.source.factory import ModelSource
from runtime.bundle.golden import check_golden, load_golden, save_golden
from runtime.bundle.manifest import (
    GOLDEN,
    MANIFEST,
    ONNX_MODEL,
    PARITY,
    PROGRAM_MODEL,
    REPORT,
    TORCHSCRIPT_MODEL,
)
from runtime.bundle.reading import read_bundle
from runtime.errors import ArtifactError, ParityError, UsageError
from runtime.predictor import Predictor
from runtime.session import Session
from trainer.run import Run, load_run, save_run

if TYPE_CHECKING:
    from pathlib import Path

    from exporter.formats.model_files import ModelFiles
    from exporter.parity.rows import ParityRows
    from exporter.reference.oracle import Evaluate

QUICK = Plan(uniform=4096, boundary=512, small=128, medium=2048)


def contents(folder: Path) -> dict[str, bytes]:
    """Every file of a folder."""
    return {file.name: file.read_bytes() for file in folder.iterdir()}


def scaled(files: ModelFiles) -> ModelFiles:
    """The same files but for one weight of the ONNX model, a thousandth too large."""
    model = onnx.load_from_string(files.onnx)
    tensor = next(each for each in model.graph.initializer if "layers.2.weight" in each.name)
    values = numpy_helper.to_array(tensor) * np.float32(1.001)
    tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))
    return dataclasses.replace(files, onnx=model.SerializeToString())


def check_refused(run_folder: Path, out: Path, files: ModelFiles) -> str:
    """Export must fail with exit code 5 and leave nothing behind; returns the message."""
    with pytest.raises(ParityError) as caught:
        export(run_folder, out, convert=lambda _: files, plan=QUICK)
    assert caught.value.exit_code == 5
    assert not out.exists()
    assert list(out.parent.iterdir()) == []
    return str(caught.value)


@pytest.mark.parametrize("name", ["onnx", "torchscript", "program"])
@pytest.mark.parametrize("kept", [0, 100, 0.99], ids=str)
def test_a_truncated_file_is_not_published(
    name: str, kept: float, run_folder: Path, files: ModelFiles, tmp_path: Path
) -> None:
    """A file that ends too early is a failed export, not a damaged run."""
    content: bytes = getattr(files, name)
    end = int(kept * len(content)) if kept < 1 else int(kept)
    wrong = dataclasses.replace(files, **{name: content[:end]})
    check_refused(run_folder, tmp_path / "bundle", wrong)


def test_the_message_names_backend_batch_and_row(
    run_folder: Path, files: ModelFiles, tmp_path: Path
) -> None:
    """The message has the command to reproduce it, input, got, expected and bound."""
    wrong = scaled(files)
    message = check_refused(run_folder, tmp_path / "bundle", wrong)
    assert message.startswith(
        "parity failed in 88 of 144 runs, first in onnx-cpu-all-1 at batch 1: "
    )
    assert "known row 0, features [" in message
    assert "got logits[0] = " in message
    assert ", expected " in message
    assert " ± " in message
    assert message.endswith("; nothing was published")


@pytest.mark.slow
def test_an_older_bundle_stays_when_parity_fails(
    run_folder: Path, files: ModelFiles, tmp_path: Path
) -> None:
    """A failed export does not change an existing bundle."""
    out = tmp_path / "bundle"
    export(run_folder, out, convert=lambda _: files, plan=QUICK)
    before = contents(out)
    wrong = scaled(files)
    with pytest.raises(ParityError):
        export(run_folder, out, convert=lambda _: wrong, plan=QUICK)
    assert contents(out) == before
    assert list(tmp_path.iterdir()) == [out]


@pytest.mark.slow
def test_a_new_bundle_replaces_the_old_one_as_a_whole(
    run_folder: Path, bundle: Path, files: ModelFiles, tmp_path: Path
) -> None:
    """Nothing of an older bundle stays behind."""
    out = tmp_path / "bundle"
    out.mkdir()
    (out / MANIFEST).write_text("older")
    (out / "left-over.txt").write_text("older")
    export(run_folder, out, convert=lambda _: files, plan=QUICK)
    assert contents(out) == contents(bundle)


@pytest.mark.slow
def test_a_run_is_exported_as_its_folder_is(
    run_folder: Path, bundle: Path, files: ModelFiles, tmp_path: Path
) -> None:
    """The same bytes, beside the run by default; the result opens, and shows itself escaped."""
    folder = tmp_path / "<b>"
    shutil.copytree(run_folder, folder)
    exported = export(load_run(folder), convert=lambda _: files, plan=QUICK)
    assert exported.path == tmp_path / "<b>.bundle"
    assert contents(exported.path) == contents(bundle)
    predictor = Predictor(exported, provider="cpu")
    assert predictor.manifest == exported.manifest
    assert repr(exported).startswith("Bundle(simplenet ")
    assert repr(exported).endswith("<b>.bundle)")
    assert "<b>.bundle" not in exported._repr_html_()
    assert "&lt;b&gt;.bundle" in exported._repr_html_()


def test_a_run_gets_a_name_by_which_platforms_know_it(run_folder: Path) -> None:
    """Two models of runs are two objects of a cluster; the command to export has the name."""
    source = ModelSource(run_folder, name="churn")
    assert source.load().name == "churn"
    assert source.command == f"exporter export --run {run_folder} --name churn"
    assert ModelSource(run_folder).load().name == "simplenet"


def test_a_run_without_a_folder_needs_one(run_folder: Path) -> None:
    """Where the bundle goes is not guessed."""
    run = dataclasses.replace(load_run(run_folder), path=None)
    with pytest.raises(UsageError, match="give out, the folder of the bundle"):
        export(run)


def test_a_foreign_folder_is_not_replaced(run_folder: Path, tmp_path: Path) -> None:
    """A folder that is not a bundle is a usage error, found before any work."""
    (tmp_path / "thesis.tex").write_text("years")
    with pytest.raises(UsageError, match=r"manifest\.json"):
        export(run_folder, tmp_path, convert=lambda _: pytest.fail("worked in vain"))
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
        export(damaged, tmp_path / "bundle")


@pytest.mark.parametrize("value", [np.nan, np.inf], ids=str)
def test_a_diverged_model_is_not_published(run_folder: Path, tmp_path: Path, value: float) -> None:
    """A network of NaN returns NaN in every backend: that is no parity."""
    run = load_run(run_folder)
    with torch.no_grad():
        run.model.linear_layers()[0].weight[0, 0] = value
    (tmp_path / "run").mkdir()
    save_run(tmp_path / "run", run)
    with pytest.raises(ParityError, match="NaN or infinite"):
        export(tmp_path / "run", tmp_path / "bundle")
    assert not (tmp_path / "bundle").exists()


def test_a_bundle_is_complete_and_says_what_it_is(bundle: Path, run: Run) -> None:
    """Manifest, hashes, signature, provenance, requirements and proof are in it."""
    opened = read_bundle(bundle)
    manifest, record = opened.manifest, run.record
    models = {ONNX_MODEL, TORCHSCRIPT_MODEL, PROGRAM_MODEL}
    assert set(opened.files) == models | {GOLDEN, PARITY, REPORT}
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


def test_golden_rows_are_the_first_of_their_groups(rows: ParityRows, evaluate: Evaluate) -> None:
    """Known rows, corners, edges and uniform rows, each with the reference's output for it."""
    golden = choose_golden(rows, evaluate)
    assert np.array_equal(golden.features[:16], rows.features[:16])
    expected = evaluate(golden.features)
    assert np.array_equal(golden.logits[:16], expected.logits.value[:16])
    assert np.array_equal(golden.logits_bound[:16], expected.logits.error[:16])
    assert np.array_equal(golden.probabilities[:16], expected.probabilities.value[:16])
    assert np.array_equal(golden.probabilities_bound[:16], expected.probabilities.error[:16])
    assert np.array_equal(golden.label[:16], expected.label[:16])
    assert golden.decidable.all()
    assert (golden.logits_bound > 0).all()


def test_golden_rows_are_stored_as_the_same_bytes(
    rows: ParityRows, evaluate: Evaluate, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The archive has no timestamps, and reading returns what was written."""
    golden = choose_golden(rows, evaluate)
    content = save_golden(golden)
    monkeypatch.setattr("time.time", lambda: 2e9)
    assert save_golden(golden) == content
    read = load_golden(content, run.record.schema, where="golden")
    assert np.array_equal(read.logits, golden.logits)


@pytest.mark.cuda
def test_cuda_takes_part_in_the_proof(run_folder: Path, files: ModelFiles, tmp_path: Path) -> None:
    """With a GPU, the bundle is proven on it, too."""
    exported = export(run_folder, tmp_path / "bundle", convert=lambda _: files, plan=QUICK)
    assert {"onnx-cpu-all-1", "onnx-cuda-all-1"} < set(exported.report.backends)
