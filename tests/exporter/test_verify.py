from __future__ import annotations

import dataclasses
import shutil
from typing import TYPE_CHECKING

import msgspec
import numpy as np
import onnx
import pytest
import torch
from torch import nn

from exporter.formats.deployed import Deployed
from exporter.formats.program import capture_program, write_program
from exporter.formats.torchscript import write_torchscript
from exporter.rows.plan import BATCHES, Plan
from exporter.verify import verify_bundle
from runtime.bundle import digest, model_version, read_bundle
from runtime.errors import ArtifactError, ParityError
from runtime.golden import load_golden, save_golden
from runtime.manifest import (
    GOLDEN,
    MANIFEST,
    ONNX_MODEL,
    PROGRAM_MODEL,
    TORCHSCRIPT_MODEL,
    Manifest,
    Requirements,
    parse_manifest,
)
from trainer.model import SimpleNet

if TYPE_CHECKING:
    from pathlib import Path


QUICK = Plan(uniform=4096, boundary=512)


@pytest.fixture
def copied(bundle: Path, tmp_path: Path) -> Path:
    """A bundle of one's own."""
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


def test_a_bundle_is_proven_again_from_itself_alone(bundle: Path) -> None:
    """All contenders at all batches pass, on rows drawn anew."""
    report = verify_bundle(bundle, plan=QUICK)
    assert report
    assert report.failure is None
    assert report.contenders[:4] == ("eager", "torchscript", "program", "numpy")
    assert report.contenders[4] == "onnx-cpu-all-1"
    assert report.batches == BATCHES
    assert report.rows > 4096
    assert 0 < report.worst_error_over_bound < 1


def test_a_torchscript_model_of_another_seed_fails(copied: Path) -> None:
    """Hashes that agree do not help a bundle whose two models differ."""
    torch.manual_seed(5)
    schema = read_manifest(copied).schema
    other = write_torchscript(Deployed(SimpleNet(2, 2)).eval(), schema)
    replace(copied, TORCHSCRIPT_MODEL, other)
    report = verify_bundle(copied, plan=QUICK)
    assert not report
    assert report.failure is not None
    assert (report.failure.contender, report.failure.batch) == ("torchscript", 1)


def test_altered_golden_rows_fail(copied: Path) -> None:
    """Golden rows that a correct model does not meet are noticed."""
    opened = read_bundle(copied)
    golden = load_golden(opened.files[GOLDEN], opened.manifest.schema, where=GOLDEN)
    altered = dataclasses.replace(golden, logits=golden.logits + 1e-3)
    replace(copied, GOLDEN, save_golden(altered))
    with pytest.raises(ParityError, match="golden row 0"):
        verify_bundle(copied, plan=QUICK)


def test_other_requirements_than_the_models_fail(copied: Path) -> None:
    """What the manifest promises of the engine must be what the model needs."""
    manifest = read_manifest(copied)
    wrong = msgspec.structs.replace(manifest, requires=Requirements("1.0", opset=9, ir=4))
    write_manifest(copied, wrong)
    with pytest.raises(ParityError, match="promises"):
        verify_bundle(copied, plan=QUICK)


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


@pytest.mark.parametrize("name", [ONNX_MODEL, TORCHSCRIPT_MODEL, GOLDEN])
def test_a_flipped_byte_is_damage(copied: Path, name: str) -> None:
    """Every file is hashed before anything in it is used."""
    content = bytearray((copied / name).read_bytes())
    content[len(content) // 2] ^= 1
    (copied / name).write_bytes(content)
    with pytest.raises(ArtifactError, match=name):
        verify_bundle(copied, plan=QUICK)


def test_a_bundle_without_torchscript_cannot_be_proven(copied: Path) -> None:
    """A bundle cut down for serving still serves, but there is nothing to prove it by."""
    manifest = read_manifest(copied)
    files = {name: file for name, file in manifest.files.items() if name != TORCHSCRIPT_MODEL}
    write_manifest(copied, msgspec.structs.replace(manifest, files=files))
    with pytest.raises(ArtifactError, match=r"no model\.torchscript\.pt to prove"):
        verify_bundle(copied, plan=QUICK)


@pytest.mark.parametrize(
    ("model", "reason"),
    [
        (SimpleNet(2, 3), "leads from 2 features to 3 classes, the schema has 2 and 2"),
        (nn.Sequential(nn.Linear(2, 4), nn.ReLU6(), nn.Linear(4, 2)), "no chain of Linear layers"),
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


def test_weights_are_read_not_trusted(copied: Path) -> None:
    """An ONNX model with NaN in it fails even where the manifest agrees."""
    model = onnx.load_from_string((copied / ONNX_MODEL).read_bytes())
    tensor = model.graph.initializer[0]
    values = onnx.numpy_helper.to_array(tensor).copy()
    values.flat[0] = np.nan
    tensor.CopyFrom(onnx.numpy_helper.from_array(values, tensor.name))
    replace(copied, ONNX_MODEL, model.SerializeToString())
    assert not verify_bundle(copied, plan=QUICK)
