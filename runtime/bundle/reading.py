"""Read a bundle of format 1 and check every hash."""

from __future__ import annotations

import hashlib
import io
import os
import stat
from typing import TYPE_CHECKING

from runtime.bundle.manifest import GOLDEN, MANIFEST, ONNX_MODEL, File, Manifest, parse_manifest
from runtime.errors import ArtifactError
from runtime.value import Value

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


_REQUIRED = (ONNX_MODEL, GOLDEN)
_LARGEST_MANIFEST = 16 * 1024 * 1024  # bytes; a thousand features take about 100 kB
_LARGEST_BUNDLE = 8 * 1024**3  # bytes; an ONNX file has no more than 2 GiB


class Bundle(Value, frozen=True):
    """A bundle whose content is what its manifest says.

    Attributes:
        path: the folder it was read from.
        manifest: what the bundle says of itself.
        files: content of each file the manifest lists, by name.
    """

    path: Path
    manifest: Manifest
    files: Mapping[str, bytes]


def read_bundle(path: Path) -> Bundle:
    """Read a bundle and check the size and SHA-256 of every file the manifest lists."""
    where = path / MANIFEST
    try:
        is_folder, has_manifest = path.is_dir(), where.exists()
    except OSError as exc:
        raise ArtifactError(f"cannot read {path}: {exc.strerror}; see --bundle") from exc
    if not is_folder:
        raise ArtifactError(
            f"no bundle at {path}: make one with 'exporter export', or name one with --bundle"
        )
    if not has_manifest:
        raise ArtifactError(f"{path} is no bundle: it has no {MANIFEST}")
    manifest = parse_manifest(_read_plain(where, limit=_LARGEST_MANIFEST), where=str(where))
    for name in _REQUIRED:
        if name not in manifest.files:
            raise ArtifactError(f"{where} does not list {name}; export the model again")
    if sum(file.size for file in manifest.files.values()) > _LARGEST_BUNDLE:
        raise ArtifactError(f"{where} promises more than {_LARGEST_BUNDLE} bytes; export it again")
    files = {name: _read_checked(path, name, file) for name, file in manifest.files.items()}
    if manifest.model.version != model_version(manifest.files[ONNX_MODEL]):
        raise ArtifactError(
            f"{where} calls the model {manifest.model.version}, which is not the digest of its "
            f"{ONNX_MODEL}; export the model again"
        )
    return Bundle(path, manifest, files)


def digest(content: bytes) -> File:
    """Describe a file's content as the manifest does."""
    return File(sha256=hashlib.sha256(content).hexdigest(), size=len(content))


def model_version(model: File) -> str:
    """Name a model's version: the first twelve digits of the SHA-256 of ``model.onnx``."""
    return model.sha256[:12]


def _read_checked(folder: Path, name: str, promised: File) -> bytes:
    if name in {"", ".", "..", MANIFEST} or "/" in name or "\\" in name or "\0" in name:
        raise ArtifactError(f"{folder / MANIFEST} lists {name!r}, which is no file of the bundle")
    content = _read_plain(folder / name, limit=promised.size)
    found = digest(content)
    if found != promised:
        raise ArtifactError(
            f"{folder / name} is not the file that was exported "
            f"(sha256 {found.sha256[:12]}…, expected {promised.sha256[:12]}…); "
            "copy the bundle again or export it again"
        )
    return content


def _read_plain(file: Path, *, limit: int) -> bytes:
    """Read a regular file of at most ``limit`` bytes, following no link."""
    try:
        with io.BufferedReader(io.FileIO(file, opener=_open_itself)) as stream:
            state = os.fstat(stream.fileno())
            if not stat.S_ISREG(state.st_mode):
                raise ArtifactError(f"{file} is no plain file; copy the bundle again")
            if state.st_size > limit:
                raise ArtifactError(
                    f"{file} has {state.st_size} bytes, more than the {limit} allowed here; "
                    "copy the bundle again or export it again"
                )
            return stream.read(state.st_size + 1)
    except OSError as exc:
        raise ArtifactError(f"cannot read {file}: {exc.strerror}; copy the bundle again") from exc
    except MemoryError as exc:
        raise ArtifactError(f"cannot read {file}: it is larger than the memory here") from exc


def _open_itself(path: str, flags: int) -> int:
    """Open what stands there, not what a link points to, and wait for no pipe's writer."""
    return os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK)
