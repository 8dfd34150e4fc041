"""Read a bundle of format 1 and verify the digest of every file."""

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
_ADVICE = "copy the bundle again or export it again"
_MAX_MANIFEST_BYTES = 16 * 1024 * 1024  # a thousand features take about 100 kB
_MAX_BUNDLE_BYTES = 8 * 1024**3  # an ONNX file has at most 2 GiB


class Bundle(Value, frozen=True):
    """A bundle whose files match its manifest.

    Attributes:
        path: its folder.
        manifest: contents and metadata.
        files: content of each file in the manifest, by name.
    """

    path: Path
    manifest: Manifest
    files: Mapping[str, bytes]


def read_bundle(path: Path) -> Bundle:
    """Read a bundle and verify the size and SHA-256 of every file in its manifest."""
    where = path / MANIFEST
    try:
        is_folder, has_manifest = path.is_dir(), where.exists()
    except OSError as exc:
        raise ArtifactError(f"cannot read {path}: {exc.strerror}; see --bundle") from exc
    if not is_folder:
        raise ArtifactError(
            f"no bundle at {path}: create one with 'exporter export', or give --bundle"
        )
    if not has_manifest:
        raise ArtifactError(f"{path} is not a bundle: it has no {MANIFEST}")
    content = read_regular_file(where, limit=_MAX_MANIFEST_BYTES, advice=_ADVICE)
    manifest = parse_manifest(content, where=str(where))
    for name in _REQUIRED:
        if name not in manifest.files:
            raise ArtifactError(f"{where} does not list {name}; export the model again")
    if sum(file.size for file in manifest.files.values()) > _MAX_BUNDLE_BYTES:
        raise ArtifactError(f"{where} lists more than {_MAX_BUNDLE_BYTES} bytes; export it again")
    files = {name: _read_checked(path, name, file) for name, file in manifest.files.items()}
    if manifest.model.version != model_version(manifest.files[ONNX_MODEL]):
        raise ArtifactError(
            f"{where} has model version {manifest.model.version}, which is not the digest of its "
            f"{ONNX_MODEL}; export the model again"
        )
    return Bundle(path, manifest, files)


def digest(content: bytes) -> File:
    """Compute the digest and size of a file's content."""
    return File(sha256=hashlib.sha256(content).hexdigest(), size=len(content))


def model_version(model: File) -> str:
    """Derive a model's version: the first twelve digits of the SHA-256 of ``model.onnx``."""
    return model.sha256[:12]


def read_regular_file(path: Path, *, limit: int, advice: str) -> bytes:
    """Read a regular file of at most ``limit`` bytes, without following links.

    Raises ``ArtifactError``, whose message ends with ``advice``.
    """
    try:
        with io.BufferedReader(io.FileIO(path, opener=_open_no_follow)) as stream:
            state = os.fstat(stream.fileno())
            if not stat.S_ISREG(state.st_mode):
                raise ArtifactError(f"{path} is not a regular file; {advice}")
            if state.st_size > limit:
                raise ArtifactError(
                    f"{path} has {state.st_size} bytes, more than the {limit} allowed here; "
                    f"{advice}"
                )
            return stream.read(state.st_size + 1)
    except FileNotFoundError as exc:
        raise ArtifactError(f"{path} is missing; {advice}") from exc
    except OSError as exc:
        raise ArtifactError(f"cannot read {path}: {exc.strerror}; {advice}") from exc
    except MemoryError as exc:
        raise ArtifactError(f"cannot read {path}: it is larger than the available memory") from exc


def _read_checked(folder: Path, name: str, expected: File) -> bytes:
    if name in {"", ".", "..", MANIFEST} or "/" in name or "\\" in name or "\0" in name:
        raise ArtifactError(f"{folder / MANIFEST} lists {name!r}, no file of the bundle")
    content = read_regular_file(folder / name, limit=expected.size, advice=_ADVICE)
    found = digest(content)
    if found != expected:
        raise ArtifactError(
            f"{folder / name} is not the file that was exported "
            f"(sha256 {found.sha256[:12]}…, expected {expected.sha256[:12]}…); "
            "copy the bundle again or export it again"
        )
    return content


def _open_no_follow(path: str, flags: int) -> int:
    """Open a path without following a link or blocking on a pipe."""
    return os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK)
