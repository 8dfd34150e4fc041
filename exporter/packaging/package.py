"""Package a bundle: a folder of files for one platform, whole or absent."""

from __future__ import annotations

import os
import shlex
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec

from exporter.packaging.image import image_files
from exporter.packaging.kserve import kserve_files
from exporter.packaging.kubernetes import kubernetes_files
from exporter.packaging.mlflow import mlflow_files
from exporter.packaging.oci import oci_files
from exporter.packaging.options import PackageOptions, default_image
from exporter.packaging.trainjob import trainjob_files
from exporter.packaging.triton import triton_files
from runtime.bundle.manifest import Model
from runtime.bundle.reading import BundleFiles, read_bundle
from runtime.errors import UsageError
from runtime.io.folders import atomic_folder
from runtime.io.paths import parse_local_path, parse_location

if TYPE_CHECKING:
    from exporter.packaging.kinds import Kind
    from runtime.io.paths import Location

# Without an extension: `kubectl apply -f DIR` reads every .json and .yaml there.
MARKER: Final = ".onnxferry-package"
Files = Mapping[str, bytes]
_NEXT: Final[Mapping[Kind, str]] = {
    "image": "docker build --tag {image} {out}",
    "kserve": "kubectl apply -f {out}",
    "kubernetes": "kubectl apply -f {out}",
    "mlflow": "mlflow models serve --env-manager local --model-uri {out}",
    "oci": "oras cp --from-oci-layout {out}:{version} REGISTRY/{image}",
    "trainjob": "kubectl apply -f {out}",
    "triton": "tritonserver --model-repository={out}",
}
_BUILDERS: Final[Mapping[Kind, Callable[[BundleFiles, PackageOptions], Files]]] = {
    "image": image_files,
    "kserve": kserve_files,
    "kubernetes": kubernetes_files,
    "mlflow": mlflow_files,
    "oci": oci_files,
    "trainjob": trainjob_files,
    "triton": triton_files,
}


@dataclass(frozen=True)
class Package:
    """A package that was written.

    Attributes:
        kind: its platform.
        path: its folder.
        model: name of the model.
        version: of the model.
        files: paths in the folder, sorted.
    """

    kind: Kind
    path: Path
    model: str
    version: str
    files: tuple[str, ...]

    def to_json(self) -> dict[str, object]:
        """Return the values for machines."""
        return {
            "package": self.kind,
            "out": str(self.path),
            "model": self.model,
            "version": self.version,
            "files": list(self.files),
        }


def package_bundle(
    bundle: Location | str,
    kind: Kind,
    out: Path | str,
    options: PackageOptions | None = None,
    *,
    force: bool = False,
    key: Path | None = None,
) -> Package:
    """Write the files that a platform needs to serve a bundle.

    Args:
        bundle: its folder; every file is verified.
        kind: the platform.
        out: folder to write.
        options: references that the files name.
        force: replace an earlier package in ``out``; anything else there is never replaced.
        key: PEM file of the public key that must have signed the bundle.

    Returns:
        What was written.

    Raises:
        ArtifactError: when the bundle is missing or damaged, or with ``key`` not signed by it.
        UsageError: when ``out`` exists or is within the bundle, or an option is missing, wrong or
            does not apply.
        UnavailableError: when something that the package pins is not installed.
        DataError: when writing fails.
    """
    out, options = parse_local_path(out), options or PackageOptions()
    options.check_applies(kind)
    if not force and os.path.lexists(out):
        raise UsageError(f"{out} exists: choose another --out, or replace a package with --force")
    source = parse_location(bundle)
    _check_outside(out, source)
    read = read_bundle(source, key)
    model = read.manifest.model
    with atomic_folder(out, marker=MARKER) as folder:
        files = _BUILDERS[kind](read, options)
        for name, content in files.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        made = {"package": kind, "model": model.name, "version": model.version}
        (folder / MARKER).write_bytes(msgspec.json.encode(made) + b"\n")
    return Package(kind, out, model.name, model.version, tuple(sorted(files)))


def _check_outside(out: Path, bundle: Location) -> None:
    """Refuse a folder within the bundle, whose files it would become; raises ``UsageError``."""
    folders = [os.path.realpath(out), os.path.realpath(bundle) if isinstance(bundle, Path) else ""]
    if folders[1] and os.path.commonpath(folders) == folders[1]:
        raise UsageError(f"{out} is within the bundle {bundle}: choose another --out")


def next_step(package: Package, key: Path | None = None) -> str:
    """Return the command that takes a package, which demands the key, to its platform."""
    # Others have the key in their files; a model of MLflow is given it.
    given = package.kind == "mlflow" and key
    before = f"ONNXFERRY_KEY={shlex.quote(os.path.abspath(given))} " if given else ""  # noqa: PTH100 - links stay
    return before + _NEXT[package.kind].format(
        out=shlex.quote(str(package.path)),
        image=default_image(Model(package.model, package.version)),
        version=package.version,
    )


def list_files(package: Package) -> str:
    """List the files of a package for people; those of a folder are counted."""
    counts = Counter(name.partition("/")[0] for name in package.files)
    return ", ".join(
        name if name in package.files else f"{name}/ ({count} files)"
        for name, count in counts.items()
    )
