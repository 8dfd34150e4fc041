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

from exporter.packaging.image import USER, bundle_files
from runtime.bundle.manifest import GOLDEN, MANIFEST, ONNX_MODEL, PROGRAM_MODEL, TORCHSCRIPT_MODEL

if TYPE_CHECKING:
    from collections.abc import Mapping

    from exporter.packaging.options import PackageOptions
    from runtime.bundle.manifest import Model
    from runtime.bundle.reading import BundleFiles

_OCI: Final = "application/vnd.oci.image"
_INDEX: Final = f"{_OCI}.index.v1+json"
_MANIFEST: Final = f"{_OCI}.manifest.v1+json"
_MODELPACK: Final = "application/vnd.cncf.model"
_TITLE: Final = "org.opencontainers.image.title"
_FOLDER: Final = "models"
# A node takes no image of another architecture, although the files suit all.
_ARCHITECTURES: Final = ("amd64", "arm64")
_KINDS: Final = {
    ONNX_MODEL: "weight",
    TORCHSCRIPT_MODEL: "weight",
    PROGRAM_MODEL: "weight",
    MANIFEST: "weight.config",
    GOLDEN: "weight.config",
}

Json = dict[str, object]


def oci_files(bundle: BundleFiles, _options: PackageOptions) -> dict[str, bytes]:
    """Write the layout: index, blobs by their digest."""
    model = bundle.manifest.model
    layout = _Layout()
    image = _tagged(_add_image(layout, bundle), model.version)
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


def _add_image(layout: _Layout, bundle: BundleFiles) -> Json:
    """Add the image for every architecture; return the descriptor of their index."""
    layer = layout.add(_archive(bundle_files(bundle)), f"{_OCI}.layer.v1.tar")
    manifests: list[Json] = []
    for architecture in _ARCHITECTURES:
        platform: Json = {"architecture": architecture, "os": "linux"}
        config = {
            **platform,
            "config": {"User": f"{USER}:{USER}", "Labels": _annotations(bundle.manifest.model)},
            "rootfs": {"type": "layers", "diff_ids": [layer["digest"]]},
            "history": [{"created_by": "exporter package --to oci"}],
        }
        manifest = {
            "schemaVersion": 2,
            "mediaType": _MANIFEST,
            "config": layout.add(_to_json(config), f"{_OCI}.config.v1+json"),
            "layers": [layer],
            "annotations": _annotations(bundle.manifest.model),
        }
        manifests.append({**layout.add(_to_json(manifest), _MANIFEST), "platform": platform})
    return layout.add(_to_json(_index(manifests)), _INDEX)


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
        "mediaType": _MANIFEST,
        "artifactType": f"{_MODELPACK}.manifest.v1+json",
        "config": layout.add(_to_json(config), f"{_MODELPACK}.config.v1+json"),
        "layers": layers,
        "annotations": _annotations(model),
    }
    descriptor = layout.add(_to_json(manifest), _MANIFEST)
    return {**descriptor, "artifactType": manifest["artifactType"]}


def _archive(files: Mapping[str, bytes]) -> bytes:
    """Write a tar of a folder that every user may read."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        folder = tarfile.TarInfo(_FOLDER)
        folder.type, folder.mode = tarfile.DIRTYPE, 0o755
        archive.addfile(folder)
        for name, content in sorted(files.items()):
            entry = tarfile.TarInfo(f"{_FOLDER}/{name}")  # of root, 1970-01-01
            entry.size, entry.mode = len(content), 0o644
            archive.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()


def _index(manifests: list[Json]) -> Json:
    return {"schemaVersion": 2, "mediaType": _INDEX, "manifests": manifests}


def _tagged(descriptor: Json, tag: str) -> Json:
    return {**descriptor, "annotations": {"org.opencontainers.image.ref.name": tag}}


def _annotations(model: Model) -> dict[str, str]:
    return {_TITLE: model.name, "org.opencontainers.image.version": model.version}


def _to_json(value: Json) -> bytes:
    return msgspec.json.encode(value)
