"""Weights are read from the files that training leaves, and what was taken is said."""

from __future__ import annotations

import argparse
import json
import re
from typing import TYPE_CHECKING, Any

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from exporter.source.weights import load_weights
from runtime.errors import ArtifactError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def net() -> nn.Module:
    return nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 2))


torch.manual_seed(7)
RIGHT = net().state_dict()


def renamed(prefix: str) -> dict[str, torch.Tensor]:
    return {f"{prefix}{name}": tensor for name, tensor in RIGHT.items()}


LOSS = {"criterion.weight": torch.ones(2)}
ADAM = torch.optim.Adam(net().parameters())
LIGHTNING = {
    "pytorch-lightning_version": "2.5.0",
    "epoch": 3,
    "state_dict": renamed("model.") | LOSS,
    "optimizer_states": [ADAM.state_dict()],
    "hyper_parameters": {"lr": 0.1},
    "loops": {"fit_loop": {"state_dict": {}}},
}
TAKEN: dict[str, tuple[Any, str | None]] = {
    "itself": (RIGHT, None),
    "DataParallel": (renamed("module."), "names without their prefix 'module.'"),
    "torch.compile": (renamed("_orig_mod."), "names without their prefix '_orig_mod.'"),
    "both": (renamed("module._orig_mod."), "names without their prefix 'module._orig_mod.'"),
    "a checkpoint": (
        {"model_state_dict": RIGHT, "optimizer": ADAM.state_dict(), "epoch": 3, "loss": 0.1},
        "the state dict under 'model_state_dict'",
    ),
    "a checkpoint with a prefix": (
        {"model": renamed("module."), "best": torch.tensor(0.5)},
        "the state dict under 'model'; names without their prefix 'module.'",
    ),
    "Lightning": (
        LIGHTNING,
        (
            "the state dict under 'state_dict'; names without their prefix 'model.'; "
            "left out: criterion.weight"
        ),
    ),
    "a checkpoint in a checkpoint": (
        {"model": {"state_dict": RIGHT, "ema": {"module": RIGHT}}, "epoch": 3},
        "the state dict under 'model.state_dict'",
    ),
    "a compiled layer": (
        {name.replace("0.", "0._orig_mod.", 1): tensor for name, tensor in RIGHT.items()},
        "names without those of wrapped submodules",
    ),
    "a parallel layer in a prefix": (
        {name.replace("2.", "2.module.", 1): tensor for name, tensor in renamed("model.").items()},
        "names without their prefix 'model.'; names without those of wrapped submodules",
    ),
    "with an epoch beside it": ({**RIGHT, "epoch": 3}, "left out: epoch"),
    "a prefix, with an epoch beside it": (
        {**renamed("module."), "epoch": 3},
        "names without their prefix 'module.'; left out: epoch",
    ),
    "two networks, one of which fits": (
        {"generator": {"weight": torch.ones(3)}, "judge": RIGHT},
        "the state dict under 'judge'",
    ),
}


@pytest.mark.parametrize("what", TAKEN)
def test_weights_are_taken_from_where_they_are(what: str, tmp_path: Path) -> None:
    """Every tensor is loaded, also onto the meta device; what was taken is described."""
    content, description = TAKEN[what]
    path = tmp_path / "weights.pt"
    torch.save(content, path)
    with torch.device("meta"):
        empty = net()
    for model in (net(), empty):
        assert load_weights(model, path, name="net") == description
        found = model.state_dict()
        assert all(torch.equal(found[name], RIGHT[name]) for name in RIGHT)


def test_safetensors_may_have_a_prefix(tmp_path: Path) -> None:
    """The same holds for the other kind of file."""
    path = tmp_path / "weights.safetensors"
    save_file(renamed("module."), path)
    assert load_weights(net(), path, name="net") == "names without their prefix 'module.'"


@pytest.mark.parametrize(("name", "write"), [("a.bin", save_file), ("a.safetensors", torch.save)])
def test_the_content_tells_the_format(
    name: str, write: Callable[[object, Path], None], tmp_path: Path
) -> None:
    """Hubs have safetensors named .bin, and people rename files."""
    write(RIGHT, tmp_path / name)
    model = net()
    assert load_weights(model, tmp_path / name, name="net") is None
    assert torch.equal(model.state_dict()["0.weight"], RIGHT["0.weight"])


def test_an_index_names_the_files_of_its_shards(tmp_path: Path) -> None:
    """Their tensors are one state dict; a file that is missing or elsewhere is one message."""
    parts = {"one.safetensors": list(RIGHT)[:3], "two.bin": list(RIGHT)[3:]}
    save_file(
        {name: RIGHT[name] for name in parts["one.safetensors"]}, tmp_path / "one.safetensors"
    )
    torch.save({name: RIGHT[name] for name in parts["two.bin"]}, tmp_path / "two.bin")
    places = {name: file for file, names in parts.items() for name in names}
    index = tmp_path / "model.safetensors.index.json"
    index.write_text(json.dumps({"metadata": {"total_size": 1}, "weight_map": places}))
    model = net()
    assert load_weights(model, index, name="net") is None
    assert all(torch.equal(model.state_dict()[name], RIGHT[name]) for name in RIGHT)
    (tmp_path / "two.bin").unlink()
    with pytest.raises(ArtifactError, match=r"cannot read .*two\.bin: No such file"):
        load_weights(model, index, name="net")
    index.write_text(json.dumps({"weight_map": {"0.weight": "../other.bin"}}))
    with pytest.raises(ArtifactError, match=r"names '\.\./other\.bin', which is no file beside it"):
        load_weights(model, index, name="net")


def _save_program(path: Path) -> None:
    torch.export.save(torch.export.export(net().eval(), (torch.zeros(2, 3),)), path)


OTHER_FILES: dict[str, tuple[Callable[[Path], object], str]] = {
    "w.pt2": (_save_program, r"is a torch\.export program, not a state dict: save model"),
    "w.pt": (
        lambda path: torch.jit.save(torch.jit.script(net()), path),
        r"is a TorchScript archive, not a state dict: save model",
    ),
    "w.bin": (
        lambda path: path.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\n"),
        r"is a Git LFS pointer, not the weights themselves: fetch them with `git lfs pull`",
    ),
    "config.json": (
        lambda path: path.write_text('{"hidden": 3}'),
        r"is JSON, not weights: give the file of weights, or an index named \*\.index\.json",
    ),
    "w.index.json": (lambda path: path.write_text("{}"), r"is no index of weights: .*weight_map"),
    "w.zip": (lambda path: path.write_bytes(b"PK\x03\x04cut"), r"has no readable weights"),
}


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("name", OTHER_FILES)
def test_other_files_are_named_for_what_they_are(name: str, tmp_path: Path) -> None:
    """With what to do instead."""
    write, reason = OTHER_FILES[name]
    write(tmp_path / name)
    with pytest.raises(ArtifactError, match=reason):
        load_weights(net(), tmp_path / name, name="net")


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_rounding_to_the_dtype_of_the_model_is_said(dtype: torch.dtype, tmp_path: Path) -> None:
    """A float64 state dict loses digits in a float32 model: not without a word."""
    path = tmp_path / "weights.safetensors"
    save_file({name: tensor.to(dtype) for name, tensor in FLOATS.items()}, path)
    model = nn.Linear(3, 4)
    assert load_weights(model, path, name="net") == f"{dtype} taken as torch.float32"
    assert torch.equal(model.weight, FLOATS["weight"].to(dtype).float())


@pytest.mark.parametrize("dtype", [torch.int8, torch.bool, torch.complex64])
def test_weights_that_are_no_floats_are_refused(dtype: torch.dtype, tmp_path: Path) -> None:
    """Torch copies codes of 8 bits, and real parts, as if they were the weights."""
    path = tmp_path / "weights.pt"
    torch.save({name: tensor.to(dtype) for name, tensor in FLOATS.items()}, path)
    with pytest.raises(ArtifactError, match=rf"has weight as {dtype}, the model as torch\.float32"):
        load_weights(nn.Linear(3, 4), path, name="net")


FLOATS = {"weight": torch.rand(4, 3), "bias": torch.rand(4)}
WITHOUT_ONE = {name: tensor for name, tensor in renamed("module.").items() if "0.bias" not in name}
REFUSED = {
    "two prefixes": (
        renamed("student.") | renamed("teacher."),
        r"several state dicts that fit: student\., teacher\.; save the one",
    ),
    "two keys": (
        {"model": RIGHT, "ema": renamed("module.")},
        r"several state dicts that fit: model, ema module\.; save the one",
    ),
    "a prefix, but not all": (WITHOUT_ONE, r"does not fit net: missing 0\.weight, 0\.bias"),
    "more than it has": (RIGHT | LOSS, r"does not fit net: unexpected criterion\.weight"),
    "no weights": ({"epoch": 3, "loss": 0.1}, r"is not a state dict: save model\.state_dict\(\)"),
    "empty": ({}, r"does not fit net: missing 0\.weight"),
    "hyperparameters of a class": (
        {**LIGHTNING, "hyper_parameters": argparse.Namespace(lr=0.1)},
        r'holds an object of class argparse\.Namespace, .* of a checkpoint, its \["state_dict"\]',
    ),
    "a whole module": (net(), r"holds an object of class torch\.nn\..*Sequential, .*save model"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_weights_that_do_not_fit_are_one_message(what: str, tmp_path: Path) -> None:
    """Nothing is unpickled or chosen by guess."""
    content, reason = REFUSED[what]
    path = tmp_path / "weights.pt"
    torch.save(content, path)
    with pytest.raises(ArtifactError) as caught:
        load_weights(net(), path, name="net")
    assert re.search(reason, str(caught.value))
    assert "\n" not in str(caught.value)
