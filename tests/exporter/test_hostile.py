"""Files that a bundle never has, made by somebody who wants more than a prediction."""

from __future__ import annotations

import io
import json
import os
import pickle
import zipfile
from typing import TYPE_CHECKING

import numpy as np
import onnx
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from exporter.formats.program import load_program
from exporter.formats.torchscript import load_torchscript
from exporter.verify import verify_bundle
from runtime.bundle.manifest import MANIFEST, ONNX_MODEL
from runtime.bundle.reading import digest, read_bundle
from runtime.errors import ArtifactError
from runtime.onnx_file import refuse_external_data
from runtime.predictor import Predictor
from runtime.session import Session

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from exporter.formats.model_files import ModelFiles

# ---- Weights in another file ----------------------------------------------------------------


def move_out(tensor: onnx.TensorProto, location: str) -> None:
    """Make a tensor refer to an external file."""
    raw = onnx.numpy_helper.to_array(tensor).tobytes()
    for field in ("raw_data", "float_data", "int64_data"):
        tensor.ClearField(field)
    tensor.data_location = onnx.TensorProto.EXTERNAL
    for key, value in {"location": location, "offset": "0", "length": str(len(raw))}.items():
        tensor.external_data.add(key=key, value=value)


def in_initializer(model: onnx.ModelProto, location: str) -> None:
    move_out(model.graph.initializer[0], location)


def in_last_initializer(model: onnx.ModelProto, location: str) -> None:
    move_out(model.graph.initializer[-1], location)


def outside(name: str, location: str) -> onnx.TensorProto:
    tensor = onnx.numpy_helper.from_array(np.ones(4, np.float32), name)
    move_out(tensor, location)
    return tensor


def in_constant(model: onnx.ModelProto, location: str) -> None:
    node = onnx.helper.make_node("Constant", [], ["c"], value=outside("c", location))
    model.graph.node.insert(0, node)


def in_branch(model: onnx.ModelProto, location: str) -> None:
    output = onnx.helper.make_tensor_value_info("o", onnx.TensorProto.FLOAT, [4])
    inner = onnx.helper.make_node("Constant", [], ["o"], value=outside("o", location))
    branch = onnx.helper.make_graph([inner], "branch", [], [output])
    node = onnx.helper.make_node("If", ["k"], ["c"], then_branch=branch, else_branch=branch)
    model.graph.node.insert(0, node)


def in_function(model: onnx.ModelProto, location: str) -> None:
    inner = onnx.helper.make_node("Constant", [], ["o"], value=outside("o", location))
    opset = onnx.helper.make_opsetid("", 20)
    model.functions.append(onnx.helper.make_function("own", "f", [], ["o"], [inner], [opset]))


def in_sparse(model: onnx.ModelProto, location: str) -> None:
    values = outside("s", location)
    indices = onnx.numpy_helper.from_array(np.arange(4), "i")
    model.graph.sparse_initializer.append(onnx.helper.make_sparse_tensor(values, indices, [4]))


def unnamed_place(model: onnx.ModelProto, location: str) -> None:
    del location
    model.graph.initializer[0].data_location = onnx.TensorProto.EXTERNAL


PLACES: list[Callable[[onnx.ModelProto, str], None]] = [
    in_initializer,
    in_last_initializer,
    in_constant,
    in_branch,
    in_function,
    in_sparse,
    unnamed_place,
]


@pytest.mark.parametrize("location", ["weights.bin", "../weights.bin", "/etc/hostname"])
@pytest.mark.parametrize("put", PLACES, ids=lambda put: put.__name__)
def test_weights_in_another_file_are_refused(
    put: Callable[[onnx.ModelProto, str], None],
    location: str,
    files: ModelFiles,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Wherever a tensor hides, the engine never gets to open its file."""
    inside = tmp_path / "work"
    inside.mkdir()
    monkeypatch.chdir(inside)
    for place in (inside, tmp_path):
        (place / "weights.bin").write_bytes(bytes(2**16))
    model = onnx.load_from_string(files.onnx)
    put(model, location)
    content = model.SerializeToString()
    with pytest.raises(ArtifactError, match="has weights in another file"):
        Session(content, provider="cpu")


def test_a_bundle_whose_hashes_agree_is_refused_too(bundle: Path, tmp_path: Path) -> None:
    """Correct hashes do not make a malicious file acceptable."""
    model = onnx.load_from_string((bundle / ONNX_MODEL).read_bytes())
    in_initializer(model, "weights.bin")
    content = model.SerializeToString()
    for file in bundle.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    (tmp_path / ONNX_MODEL).write_bytes(content)
    manifest = json.loads((tmp_path / MANIFEST).read_bytes())
    manifest["files"][ONNX_MODEL] = {"sha256": digest(content).sha256, "size": len(content)}
    manifest["model"]["version"] = digest(content).sha256[:12]
    (tmp_path / MANIFEST).write_text(json.dumps(manifest))
    assert read_bundle(tmp_path).path == tmp_path
    with pytest.raises(ArtifactError, match="has weights in another file"):
        Predictor(tmp_path)
    with pytest.raises(ArtifactError, match="has weights in another file"):
        verify_bundle(tmp_path)


def test_a_model_of_ours_keeps_all_inside(files: ModelFiles) -> None:
    """What is exported is never refused."""
    refuse_external_data(files.onnx, where="it")


@pytest.mark.parametrize(
    "content",
    [b"\x00noise", b"\x3a\xff", b"\x3a" + b"\xff" * 11, b"\x0b", b"\x39\x00", b"\x08"],
    ids=["field 0 of length", "cut", "long varint", "a group", "cut number", "no value"],
)
def test_bytes_that_are_no_model_are_an_artifact_error(content: bytes) -> None:
    """Damage is reported without reading past the end."""
    with pytest.raises(ArtifactError, match="it is not an ONNX model"):
        refuse_external_data(content, where="it")


def test_a_key_that_others_read_as_another_is_refused() -> None:
    """Readers drop what exceeds 32 bits of a key: weights elsewhere could hide behind it."""
    hidden = b"\xea\x80\x80\x80\x10" + b"\x00"  # 2**32 more than the key of external_data
    tensor = b"\x2a" + bytes([len(hidden)]) + hidden
    with pytest.raises(ArtifactError, match="it is not an ONNX model"):
        refuse_external_data(b"\x3a" + bytes([len(tensor)]) + tensor, where="it")


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(content: bytes) -> None:
    """Whatever the bytes, the check ends, without an error or with an ArtifactError."""
    try:
        refuse_external_data(content, where="it")
    except ArtifactError as exc:
        assert str(exc).startswith("it ")  # noqa: PT017 - either outcome is right


# ---- Archives that unpickle, unpack or open files ---------------------------------------------


class Trap:
    """Leaves a mark when it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[object, ...]:
        return os.mkdir, (str(self.mark),)


def rewrite(archive: bytes, change: Callable[[str, bytes], tuple[str, bytes]]) -> bytes:
    """Copy an archive, every entry changed."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(archive)) as old, zipfile.ZipFile(buffer, "w") as new:
        for name in old.namelist():
            new.writestr(*change(name, old.read(name)))
    return buffer.getvalue()


def with_trapped_inputs(archive: bytes, mark: Path) -> bytes:
    def change(name: str, content: bytes) -> tuple[str, bytes]:
        if name.endswith("sample_inputs/model.pt"):
            buffer = io.BytesIO()
            torch.save(Trap(mark), buffer)
            content = buffer.getvalue()
        return name, content

    return rewrite(archive, change)


def with_trapped_weight(archive: bytes, mark: Path) -> bytes:
    buffer = io.BytesIO()
    torch.save(Trap(mark), buffer)

    def change(name: str, content: bytes) -> tuple[str, bytes]:
        if name.endswith("weights/weight_0"):
            return name, buffer.getvalue()
        if name.endswith("model_weights_config.json"):
            return name, content.replace(b'"use_pickle": false', b'"use_pickle":true', 1)
        return name, content

    return rewrite(archive, change)


def with_foreign_entry(archive: bytes, mark: Path) -> bytes:
    changed = rewrite(archive, lambda name, content: (name, content))
    buffer = io.BytesIO(changed)
    with zipfile.ZipFile(buffer, "a") as opened:
        opened.writestr("archive/data/constants/opaque_obj_0", pickle.dumps(Trap(mark)))
    return buffer.getvalue()


def in_the_old_format(archive: bytes, mark: Path) -> bytes:
    del archive
    saved = io.BytesIO()
    torch.save(Trap(mark), saved)
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as opened:
        opened.writestr("version", "8.8")
        for name in ("serialized_state_dict.pt", "serialized_constants.pt"):
            opened.writestr(name, saved.getvalue())
        opened.writestr("serialized_exported_program.json", "{}")
    return buffer.getvalue()


@pytest.mark.parametrize(
    "trap",
    [with_trapped_inputs, with_trapped_weight, with_foreign_entry, in_the_old_format],
    ids=lambda trap: trap.__name__,
)
def test_a_program_is_never_unpickled(
    trap: Callable[[bytes, Path], bytes], files: ModelFiles, tmp_path: Path
) -> None:
    """An archive with a pickle is refused before torch opens it."""
    mark = tmp_path / "mark"
    with pytest.raises(ArtifactError, match="which is not opened"):
        load_program(trap(files.program, mark), where="model.pt2")
    assert not mark.exists()


@pytest.mark.parametrize("kind", ["program", "torchscript"])
def test_packed_entries_are_refused(kind: str, files: ModelFiles) -> None:
    """A gigabyte of zeros packs into a megabyte: nothing is unpacked."""
    buffer = io.BytesIO()
    content: bytes = getattr(files, kind)
    with zipfile.ZipFile(io.BytesIO(content)) as old, zipfile.ZipFile(buffer, "w") as new:
        for name in old.namelist():
            new.writestr(name, old.read(name), zipfile.ZIP_DEFLATED)
    load = load_program if kind == "program" else load_torchscript
    with pytest.raises(ArtifactError, match="which is not opened"):
        load(buffer.getvalue(), where="it")


class Reading(nn.Module):
    """Returns the content of a file."""

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        return features + torch.from_file("/etc/hostname", shared=False, size=1)


def test_torchscript_that_opens_files_is_refused() -> None:
    """TorchScript that opens files is refused."""
    with pytest.warns(DeprecationWarning, match="jit"):
        scripted = torch.jit.script(Reading())
    buffer = io.BytesIO()
    with pytest.warns(DeprecationWarning, match="jit"):
        torch.jit.save(scripted, buffer)
    stored = rewrite(buffer.getvalue(), lambda name, content: (name, content))
    with pytest.raises(ArtifactError, match="opens a file"):
        load_torchscript(stored, where="it")


def test_a_program_that_opens_files_is_refused(files: ModelFiles) -> None:
    """Likewise for the exported program, whose graph is JSON that anyone can edit."""

    def change(name: str, content: bytes) -> tuple[str, bytes]:
        if not name.endswith("models/model.json"):
            return name, content
        program = json.loads(content)
        nodes = program["graph_module"]["graph"]["nodes"]
        relu = next(node for node in nodes if "relu" in node["target"])
        relu["target"] = "torch.ops.aten.from_file.default"
        relu["inputs"] = [
            {"name": "filename", "arg": {"as_string": "/etc/hostname"}, "kind": 1},
            {"name": "shared", "arg": {"as_bool": False}, "kind": 1},
            {"name": "size", "arg": {"as_int": 1}, "kind": 1},
        ]
        return name, json.dumps(program).encode()

    with pytest.raises(ArtifactError, match="opens a file"):
        load_program(rewrite(files.program, change), where="it")
