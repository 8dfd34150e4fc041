"""Read the tensors of a file by its content: safetensors, ``torch.save``, an index of shards.

Nothing is unpickled but tensors and plain containers.
"""

from __future__ import annotations

import pickle
import re
import warnings
import zipfile
from typing import TYPE_CHECKING, Any

import msgspec
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from runtime.errors import ArtifactError, first_line
from runtime.printable import printable
from runtime.surfaces import option

if TYPE_CHECKING:
    from pathlib import Path

ADVICE = "save model.state_dict(), preferably as .safetensors"
_CLASS = re.compile(r"Unsupported (?:global|class): GLOBAL (\S+)")
_HEAD = 64  # bytes
_POINTER = b"version https://git-lfs."
_ZIP = b"PK\x03\x04"
_HEADER_AT = 8  # of a safetensors file, after its length
_INDEX = ".index.json"  # as Hugging Face names the index of a model in several files
# A file of an archive that names its kind.
_ARCHIVES = {
    "archive_format": "a torch.export program",
    "constants.pkl": "a TorchScript archive",
}


def read_tensors(path: Path) -> object:
    """Read a file of tensors; ``ArtifactError`` where it is damaged or holds other objects."""
    try:
        if path.name.endswith(_INDEX):
            return _read_shards(path)
        with path.open("rb") as stream:
            head = stream.read(_HEAD)
        if kind := _other_kind(path, head):
            raise ArtifactError(f"{path} is {kind}")
        if _is_safetensors(path, head):
            return load_file(path)
        with path.open("rb") as stream, warnings.catch_warnings():
            # A plain pickle gets a message below. Of a path, torch would believe the name.
            warnings.filterwarnings("ignore", "Detected pickle protocol", category=UserWarning)
            return torch.load(stream, map_location="cpu", weights_only=True)
    except OSError as exc:
        raise ArtifactError(
            f"cannot read {path}: {exc.strerror or exc}; see {option('weights')}"
        ) from exc
    except pickle.UnpicklingError as exc:
        raise ArtifactError(_refusal(str(exc), path)) from exc
    except (SafetensorError, RuntimeError, EOFError, ValueError, KeyError) as exc:
        raise ArtifactError(f"{path} has no readable weights: {first_line(exc)}") from exc


def _is_safetensors(path: Path, head: bytes) -> bool:
    """Tell by the content, and by the name where that is damaged."""
    if head[_HEADER_AT : _HEADER_AT + 1] == b"{":
        return True
    return path.suffix == ".safetensors" and not head.startswith(_ZIP)


def _other_kind(path: Path, head: bytes) -> str | None:
    """Say what a file is that holds no state dict, with the remedy; None for all others."""
    if head.startswith(_POINTER):
        return "a Git LFS pointer, not the weights themselves: fetch them with `git lfs pull`"
    if head.lstrip()[:1] in {b"{", b"["}:
        return f"JSON, not weights: give the file of weights, or an index named *{_INDEX}"
    if not head.startswith(_ZIP):
        return None
    try:
        with zipfile.ZipFile(path) as archive:
            names = {name.rpartition("/")[2] for name in archive.namelist()}
    except zipfile.BadZipFile:
        return None  # torch.load says what is wrong
    found = [kind for name, kind in _ARCHIVES.items() if name in names]
    return f"{found[0]}, not a state dict: {ADVICE}" if found else None


class _Index(msgspec.Struct):
    weight_map: dict[str, str]  # file by name of tensor


def _read_shards(path: Path) -> dict[str, Any]:
    """Read the tensors of all files that an index names; they lie beside it."""
    try:
        files = msgspec.json.decode(path.read_bytes(), type=_Index).weight_map
    except msgspec.DecodeError as exc:
        raise ArtifactError(f"{path} is no index of weights: {exc}") from exc
    tensors: dict[str, Any] = {}
    for name in dict.fromkeys(files.values()):
        if name in {"", ".", ".."} or "/" in name or "\\" in name or name.endswith(_INDEX):
            raise ArtifactError(f"{path} names {printable(name)!r}, which is no file beside it")
        found = read_tensors(path.parent / name)
        tensors |= found if isinstance(found, dict) else {}
    return {name: tensors[name] for name in files if name in tensors}


def _refusal(reason: str, path: Path) -> str:
    """Describe what a file holds that is not unpickled."""
    found = _CLASS.search(reason)
    what = f"holds an object of class {printable(found[1])}" if found else "is not a state dict"
    return (
        f"{path} {what}, and nothing else than tensors is unpickled: where it was made, {ADVICE}; "
        'of a checkpoint, its ["state_dict"]'
    )
