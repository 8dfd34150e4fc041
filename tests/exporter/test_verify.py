from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
import onnx
import pytest
from torch import nn

from exporter.formats.deployed import Deployed
from exporter.formats.program import capture_program, write_program
from exporter.parity.rows import BATCHES, Plan
from exporter.verify import verify_bundle
from runtime.bundle.golden import Golden, load_golden, save_golden
from runtime.bundle.manifest import (
    GOLDEN,
    MANIFEST,
    ONNX_MODEL,
    PARITY,
    PROGRAM_MODEL,
    TORCHSCRIPT_MODEL,
    Manifest,
    parse_manifest,
)
from runtime.bundle.reading import digest, model_version
from runtime.errors import ArtifactError, ParityError
from trainer.model import SimpleNet

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


QUICK = Plan(uniform=4096, boundary=512)


@pytest.fixture
def copied(bundle: Path, tmp_path: Path) -> Path:
    """A copy of the bundle that the test may change."""
    return shutil.copytree(bundle, tmp_path / "bundle")


def replace(bundle: Path, name: str, content: bytes) -> None:
    """Put other content into a bundle, with a manifest that agrees."""
    (bundle / name).write_bytes(content)
    manifest = read_manifest(bundle)
    files = {**manifest.files, name: digest(content)}
    model = msgspec.structs.replace(manifest.model, version=model_version(files[ONNX_MODEL]))
    write_manifest(bundle, msgspec.structs.replace(manifest, files=files, model=model))


def read_manifest(bundle: Path) -> Manifest:
    return parse_manifest((bundle / MANIFEST).read_bytes(), where=MANIFEST)


def write_manifest(bundle: Path, manifest: Manifest) -> None:
    (bundle / MANIFEST).write_bytes(manifest.to_json())


@pytest.mark.slow
def test_a_bundle_is_proven_again_from_itself_alone(bundle: Path) -> None:
    """All backends at all batches pass, on rows drawn anew."""
    report = verify_bundle(bundle, plan=QUICK)
    assert report
    assert report.failure is None
    assert report.backends[:4] == ("eager", "torchscript", "program", "numpy")
    assert report.backends[4] == "onnx-cpu-all-1"
    assert report.batches == BATCHES
    assert report.rows > 4096
    assert 0 < report.worst_error_over_bound < 1


def test_another_schema_than_the_models_fails(copied: Path) -> None:
    """Columns renamed in the manifest are not those of the model's metadata."""
    manifest = read_manifest(copied)
    features = tuple(
        msgspec.structs.replace(feature, name=name)
        for feature, name in zip(manifest.schema.features, ("rating", "price"), strict=True)
    )
    schema = msgspec.structs.replace(manifest.schema, features=features)
    write_manifest(copied, msgspec.structs.replace(manifest, schema=schema))
    with pytest.raises(ParityError, match=r"onnxferry\.features"):
        verify_bundle(copied, plan=QUICK)


def test_a_bundle_without_torchscript_cannot_be_proven(copied: Path) -> None:
    """A bundle reduced to the files for serving cannot be proven again."""
    manifest = read_manifest(copied)
    files = {name: file for name, file in manifest.files.items() if name != TORCHSCRIPT_MODEL}
    write_manifest(copied, msgspec.structs.replace(manifest, files=files))
    with pytest.raises(ArtifactError, match=r"no model\.torchscript\.pt to prove"):
        verify_bundle(copied, plan=QUICK)


@pytest.mark.parametrize(
    ("model", "reason"),
    [
        (SimpleNet(2, 3), "maps 2 features to 3 classes, the schema has 2 and 2"),
        (
            nn.Sequential(nn.Linear(2, 4), nn.ReLU6(), nn.Linear(4, 2)),
            "not a chain of Linear layers",
        ),
    ],
    ids=["three classes", "relu6"],
)
def test_a_program_of_another_kind_fails(copied: Path, model: nn.Module, reason: str) -> None:
    """Bounds that were derived from one network prove nothing of another."""
    schema = read_manifest(copied).schema
    program = capture_program(Deployed(model).eval().requires_grad_(requires_grad=False), schema)
    replace(copied, PROGRAM_MODEL, write_program(program))
    with pytest.raises(ParityError, match=reason):
        verify_bundle(copied, plan=QUICK)


@pytest.mark.parametrize(
    ("altered", "reason"),
    [
        ({"passed": False}, "records a failed proof"),
        ({"tolerance": "measured"}, "has a measured tolerance, though bounds can be derived"),
    ],
    ids=["failed", "measured"],
)
def test_another_proof_than_the_models_fails(
    copied: Path, altered: dict[str, object], reason: str
) -> None:
    """The tolerance that the stored proof states cannot weaken the next proof."""
    stored = json.loads((copied / PARITY).read_bytes())
    replace(copied, PARITY, json.dumps({**stored, **altered}).encode())
    with pytest.raises(ParityError, match=reason):
        verify_bundle(copied, plan=QUICK)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda golden: {"logits_bound": golden.logits_bound + 1e3}, "errors of logits up to 1e"),
        (
            lambda golden: {"probabilities_bound": golden.probabilities_bound * 2},
            "errors of probabilities up to",
        ),
        (
            lambda golden: {"decidable": golden.decidable & False},
            "marks decidable rows",
        ),
    ],
    ids=["wide", "twice as wide", "no label sure"],
)
def test_golden_rows_that_allow_more_fail(
    copied: Path, change: Callable[[Golden], dict[str, Any]], reason: str
) -> None:
    """Bounds are derived again: those in the file could accept wrong outputs."""
    golden = load_golden((copied / GOLDEN).read_bytes(), read_manifest(copied).schema, where=GOLDEN)
    replace(copied, GOLDEN, save_golden(msgspec.structs.replace(golden, **change(golden))))
    with pytest.raises(ParityError, match=reason):
        verify_bundle(copied, plan=QUICK)


@pytest.mark.slow
def test_weights_are_read_not_trusted(copied: Path) -> None:
    """An ONNX model with NaN in it fails even where the manifest agrees."""
    model = onnx.load_from_string((copied / ONNX_MODEL).read_bytes())
    tensor = model.graph.initializer[0]
    values = onnx.numpy_helper.to_array(tensor).copy()
    values.flat[0] = np.nan
    tensor.CopyFrom(onnx.numpy_helper.from_array(values, tensor.name))
    replace(copied, ONNX_MODEL, model.SerializeToString())
    assert not verify_bundle(copied, plan=QUICK)
