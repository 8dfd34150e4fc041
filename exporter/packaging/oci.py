"""An OCI image layout with the bundle, written without a container engine.

It has two tags. VERSION is an image whose ``/models`` has the bundle, for KServe and for an image
volume of Kubernetes. VERSION-modelpack is an artifact of CNCF's ModelPack with one layer a file,
which ``oras pull`` writes as a folder. Nothing is dated or compressed, so the digests are the same
each time. Sources: OCI image-spec 1.1, ModelPack model-spec 0.0.7.
"""

from __future__ import annotations

import hashlib
import io
import tarfile
from typing import TYPE_CHECKING, Final

import msgspec

from exporter.packaging.base_image import INDEX, MANIFEST, OCI, BaseImage, read_base
from exporter.packaging.image import USER, bundle_files
from runtime.bundle.manifest import GOLDEN, ONNX_MODEL, PROGRAM_MODEL, TORCHSCRIPT_MODEL

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from exporter.packaging.base_image import Json
    from exporter.packaging.options import PackageOptions
    from runtime.bundle.manifest import Model
    from runtime.bundle.reading import BundleFiles

_MODELPACK: Final = "application/vnd.cncf.model"
_TITLE: Final = "org.opencontainers.image.title"
_FOLDER: Final = "models"
# A node takes no image of another architecture, although the files suit all.
_ARCHITECTURES: Final = ("amd64", "arm64")
_KINDS: Final = {
    ONNX_MODEL: "weight",
    TORCHSCRIPT_MODEL: "weight",
    PROGRAM_MODEL: "weight",
    "manifest.json": "weight.config",
    GOLDEN: "weight.config",
}


def oci_files(bundle: BundleFiles, options: PackageOptions) -> dict[str, bytes]:
    """Write the layout: index, blobs by their digest."""
    model = bundle.manifest.model
    layout = _Layout()
    image = _tagged(_add_image(layout, bundle, options.base), model.version)
    artifact = _tagged(_add_modelpack(layout, bundle), f"{model.version}-modelpack")
    return {
        "oci-layout": b'{"imageLayoutVersion":"1.0.0"}',
        "index.json": _to_json(_index([image, artifact])),
        **layout.blobs,
    }


class _Layout:
    """The blobs of a layout, by path."""

    def __init__(self) -> None:
        self.blobs: dict[str, bytes] = {}

    def add(self, content: bytes, media_type: str) -> Json:
        """Add a blob; return its descriptor."""
        digest = hashlib.sha256(content).hexdigest()
        self.blobs[f"blobs/sha256/{digest}"] = content
        return {"mediaType": media_type, "digest": f"sha256:{digest}", "size": len(content)}


def _add_image(layout: _Layout, bundle: BundleFiles, base: Path | None) -> Json:
    """Add the image for every architecture; return the descriptor of their index."""
    layer = layout.add(_archive(bundle_files(bundle)), f"{OCI}.layer.v1.tar")
    bases = read_base(base) if base else _empty_bases()
    manifests = [_add_layer(layout, one, layer, bundle.manifest.model) for one in bases]
    return layout.add(_to_json(_index(manifests)), INDEX)


def _empty_bases() -> list[BaseImage]:
    return [
        BaseImage(
            config={
                "architecture": architecture,
                "os": "linux",
                "config": {"User": f"{USER}:{USER}"},
                "rootfs": {"type": "layers", "diff_ids": []},
            },
            layers=[],
            blobs=[],
        )
        for architecture in _ARCHITECTURES
    ]


def _add_layer(layout: _Layout, base: BaseImage, layer: Json, model: Model) -> Json:
    """Add a layer upon an image; return the descriptor of the manifest."""
    for descriptor, content in zip(base.layers, base.blobs, strict=True):
        layout.add(content, descriptor["mediaType"])
    old = base.config
    diff_ids = [*old["rootfs"]["diff_ids"], layer["digest"]]
    settings = old.get("config") or {}
    labels = {**(settings.get("Labels") or {}), **_annotations(model)}
    config = {
        **old,
        "config": {**settings, "Labels": labels},
        "rootfs": {"type": "layers", "diff_ids": diff_ids},
        "history": [*(old.get("history") or []), {"created_by": "exporter package --to oci"}],
    }
    manifest = {
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": layout.add(_to_json(config), f"{OCI}.config.v1+json"),
        "layers": [*base.layers, layer],
        "annotations": _annotations(model),
    }
    keys = ("architecture", "os", "os.version", "os.features", "variant")
    platform = {key: config[key] for key in keys if key in config}
    return {**layout.add(_to_json(manifest), MANIFEST), "platform": platform}


def _add_modelpack(layout: _Layout, bundle: BundleFiles) -> Json:
    """Add the ModelPack artifact; return the descriptor of its manifest."""
    model = bundle.manifest.model
    layers = []
    for name, content in bundle_files(bundle).items():
        layer = layout.add(content, f"{_MODELPACK}.{_KINDS.get(name, 'doc')}.v1.raw")
        layers.append({**layer, "annotations": {"org.cncf.model.filepath": name, _TITLE: name}})
    config = {
        "descriptor": {"name": model.name, "version": model.version},
        "config": {
            "format": "onnx",
            "precision": "float32",
            "capabilities": {"inputTypes": ["other"], "outputTypes": ["other"]},
        },
        "modelfs": {"type": "layers", "diffIds": [layer["digest"] for layer in layers]},
    }
    manifest = {
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "artifactType": f"{_MODELPACK}.manifest.v1+json",
        "config": layout.add(_to_json(config), f"{_MODELPACK}.config.v1+json"),
        "layers": layers,
        "annotations": _annotations(model),
    }
    descriptor = layout.add(_to_json(manifest), MANIFEST)
    return {**descriptor, "artifactType": manifest["artifactType"]}


def _archive(files: Mapping[str, bytes]) -> bytes:
    """Write a tar of a folder that every user may read."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as archive:
        folder = tarfile.TarInfo(_FOLDER)
        folder.type, folder.mode = tarfile.DIRTYPE, 0o755
        archive.addfile(folder)
        for name, content in sorted(files.items()):
            entry = tarfile.TarInfo(f"{_FOLDER}/{name}")  # of root, 1970-01-01
            entry.size, entry.mode = len(content), 0o644
            archive.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()


def _index(manifests: list[Json]) -> Json:
    return {"schemaVersion": 2, "mediaType": INDEX, "manifests": manifests}


def _tagged(descriptor: Json, tag: str) -> Json:
    return {**descriptor, "annotations": {"org.opencontainers.image.ref.name": tag}}


def _annotations(model: Model) -> dict[str, str]:
    return {_TITLE: model.name, "org.opencontainers.image.version": model.version}


def _to_json(value: Json) -> bytes:
    return msgspec.json.encode(value)
