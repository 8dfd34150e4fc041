from __future__ import annotations

import io
import sys
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import torch

from exporter.formats.deployed import Deployed
from exporter.formats.torchscript import load_torchscript, write_torchscript
from runtime.errors import ArtifactError
from runtime.schema.features import Feature, Schema
from trainer.model import SimpleNet

if TYPE_CHECKING:
    from exporter.formats.model_files import ModelFiles
    from exporter.parity.rows import ParityRows
    from trainer.run import Run

SCHEMA = Schema("kind", tuple(Feature(name, 0, 1) for name in "abc"), ("x", "y", "z"))


@pytest.mark.parametrize("batch", [0, 1, 2, 31, 4096])
def test_it_is_bit_equal_to_eager_at_the_same_batch(
    files: ModelFiles, run: Run, rows: ParityRows, batch: int
) -> None:
    """Tracing changes no bit, for any number of rows, the special ones among them."""
    features = torch.from_numpy(rows.features[-batch:] if batch else rows.features[:0])
    module = load_torchscript(files.torchscript, where="it")
    with torch.inference_mode():
        expected = Deployed(run.model)(features)
        for got, output in zip(module(features), expected, strict=True):
            assert torch.equal(torch.nan_to_num(got), torch.nan_to_num(output))
            assert torch.equal(got.isnan(), output.isnan())


def test_the_paths_of_its_classes_stay_the_same(files: ModelFiles) -> None:
    """They are part of the bundle's bytes: moving a class to another module would change them."""
    with zipfile.ZipFile(io.BytesIO(files.torchscript)) as archive:
        names = " ".join(archive.namelist())
    assert "code/__torch__/exporter/formats/deployed/" in names
    assert "code/__torch__/trainer/model/" in names


def test_plain_torch_loads_it(files: ModelFiles, tmp_path: Path) -> None:
    """Anyone can open the file with ``torch.jit.load``; its parameters need no gradient."""
    path = tmp_path / "model.pt"
    path.write_bytes(files.torchscript)
    with pytest.warns(DeprecationWarning, match="jit"):
        module = torch.jit.load(path)  # type: ignore[no-untyped-call]  # torch leaves it untyped
    assert not any(parameter.requires_grad for parameter in module.parameters())
    label, probabilities, logits = module(torch.zeros(3, 2))
    assert (label.shape, probabilities.shape, logits.shape) == ((3,), (3, 2), (3, 2))


def test_the_same_module_gives_the_same_bytes(run: Run) -> None:
    """Whatever was traced before in this process."""
    deployed = Deployed(run.model).eval()
    first = write_torchscript(deployed, run.record.schema)
    write_torchscript(Deployed(SimpleNet(3, 3, (4, 4))).eval(), SCHEMA)
    assert write_torchscript(deployed, run.record.schema) == first


def test_nothing_of_this_machine_is_in_the_archive(files: ModelFiles) -> None:
    """No source paths, no dates, no random numbers; tensors aligned as torch aligns them."""
    with zipfile.ZipFile(io.BytesIO(files.torchscript)) as archive:
        for entry in archive.infolist():
            assert entry.date_time == (1980, 1, 1, 0, 0, 0)
            assert entry.compress_type == zipfile.ZIP_STORED
            start = entry.header_offset + 30 + len(entry.filename) + len(entry.extra)
            assert start % 64 == 0
            assert "debug" not in entry.filename
            assert "serialization_id" not in entry.filename
            content = archive.read(entry)
            for place in {*sys.path, sys.prefix, str(Path.cwd()), "site-packages"} - {""}:
                assert place.encode() not in content


def test_deep_networks_keep_their_layers_in_order() -> None:
    """Renaming classes does not mix up modules of the same kind."""
    torch.manual_seed(3)
    model = SimpleNet(3, 3, (5, 5, 5)).eval()
    module = load_torchscript(write_torchscript(Deployed(model), SCHEMA), where="it")
    features = torch.randn(7, 3)
    with torch.inference_mode():
        assert torch.equal(module(features)[2], model(features))
    assert list(module.state_dict()) == [f"model.{name}" for name in model.state_dict()]


@pytest.mark.parametrize("content", [b"", b"PK\x05\x06" + bytes(18), b"not an archive"])
def test_what_torch_cannot_load_is_an_artifact_error(content: bytes) -> None:
    """The message names the file."""
    with pytest.raises(ArtifactError, match=r"torch cannot load some/model\.pt"):
        load_torchscript(content, where="some/model.pt")
