from __future__ import annotations

import dataclasses
import io
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import onnxruntime
import pytest
import torch

from exporter.bundling import export
from exporter.formats.deployed import Deployed
from exporter.formats.onnx import write_onnx
from exporter.formats.program import capture_program, load_program, write_program
from runtime.errors import ArtifactError, ParityError, UnavailableError
from trainer.model import SimpleNet

if TYPE_CHECKING:
    from collections.abc import Callable

    from exporter.formats.model_files import ModelFiles
    from exporter.parity.rows import ParityRows, Plan
    from trainer.run import Run


@pytest.mark.parametrize("batch", [0, 1, 2, 31, 4096])
def test_it_is_bit_equal_to_eager_at_the_same_batch(
    files: ModelFiles, run: Run, rows: ParityRows, batch: int
) -> None:
    """Capturing changes no bit, for any number of rows, the special ones among them."""
    features = torch.from_numpy(rows.features[-batch:] if batch else rows.features[:0])
    module = load_program(files.program, where="it").module()
    with torch.inference_mode():
        expected = Deployed(run.model)(features)
        for got, output in zip(module(features), expected, strict=True):
            assert torch.equal(torch.nan_to_num(got), torch.nan_to_num(output))
            assert torch.equal(got.isnan(), output.isnan())


def test_a_read_only_container_is_told_what_to_mount(
    files: ModelFiles, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a folder for temporary files, neither the model nor the file is to blame."""
    monkeypatch.setattr(tempfile, "tempdir", None)
    monkeypatch.setattr(tempfile, "_candidate_tempdir_list", list)
    with pytest.raises(UnavailableError, match="mount a writable /tmp"):
        capture_program(Deployed(run.model).eval(), run.record.schema)
    with pytest.raises(UnavailableError, match="mount a writable /tmp"):
        load_program(files.program, where="it")


@pytest.mark.parametrize(
    "clamp",
    [
        lambda x: x.clamp(1e-7, 1),
        lambda x: x.clip(-1, max=1.5),
        lambda x: torch.nn.functional.hardtanh(x, -1, 0.5),
    ],
)
def test_a_clamp_may_have_bounds_of_two_kinds(
    clamp: Callable[[torch.Tensor], torch.Tensor], run: Run
) -> None:
    """An int beside a float is an ordinary way to write a bound; torch.onnx knows none such."""

    class Clamped(torch.nn.Module):
        def forward(self, features: torch.Tensor) -> torch.Tensor:
            return clamp(features)

    schema = run.record.schema
    content = write_onnx(capture_program(Deployed(Clamped()).eval(), schema), schema, name="it")
    features = np.array([[-3, 0.25], [1.25, 9]], np.float32)
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    _, _, logits = session.run(None, {"features": features})
    assert np.array_equal(logits, clamp(torch.from_numpy(features)).numpy())


def test_plain_torch_loads_it(files: ModelFiles, tmp_path: Path) -> None:
    """Anyone can open the file with ``torch.export.load``."""
    path = tmp_path / "model.pt2"
    path.write_bytes(files.program)
    label, probabilities, logits = torch.export.load(path).module()(torch.zeros(3, 2))
    assert (label.shape, probabilities.shape, logits.shape) == ((3,), (3, 2), (3, 2))


def test_the_same_module_gives_the_same_bytes(run: Run) -> None:
    """Whatever was captured before in this process."""
    deployed = Deployed(run.model).eval().requires_grad_(requires_grad=False)
    first = write_program(capture_program(deployed, run.record.schema))
    capture_program(Deployed(SimpleNet(2, 2, (4, 4))).eval(), run.record.schema)
    assert write_program(capture_program(deployed, run.record.schema)) == first


def test_nothing_of_this_machine_is_in_the_archive(files: ModelFiles) -> None:
    """No source paths and no dates."""
    with zipfile.ZipFile(io.BytesIO(files.program)) as archive:
        for entry in archive.infolist():
            assert entry.date_time == (1980, 0, 0, 0, 0, 0)
            content = archive.read(entry)
            for place in {*sys.path, sys.prefix, str(Path.cwd()), "site-packages"} - {""}:
                assert place.encode() not in content, entry.filename


@pytest.mark.slow
def test_a_program_of_another_seed_is_not_published(
    run_folder: Path, run: Run, files: ModelFiles, quick: Plan, tmp_path: Path
) -> None:
    """A stale model.pt2 stops the export, and names itself."""
    torch.manual_seed(12)
    stale = write_program(capture_program(Deployed(SimpleNet(2, 2)).eval(), run.record.schema))
    wrong = dataclasses.replace(files, program=stale)
    with pytest.raises(ParityError, match="program at batch"):
        export(run_folder, tmp_path / "bundle", convert=lambda _: wrong, plan=quick)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"no archive"], ids=repr)
def test_what_is_no_program_is_refused(content: bytes) -> None:
    """One clear error whatever the bytes."""
    with pytest.raises(ArtifactError, match="torch cannot load it"):
        load_program(content, where="it")
