"""Read an image to build upon from an OCI image layout; every blob is verified."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeVar

import msgspec

from runtime.errors import ArtifactError, UsageError

if TYPE_CHECKING:
    from pathlib import Path

OCI: Final = "application/vnd.oci.image"
INDEX: Final = f"{OCI}.index.v1+json"
MANIFEST: Final = f"{OCI}.manifest.v1+json"
_DIGEST: Final = re.compile(r"sha256:([0-9a-f]{64})")

Json = dict[str, Any]  # of documents whose unknown fields are kept


class _Descriptor(msgspec.Struct, rename="camel"):
    digest: str
    media_type: str = ""
    platform: Json = {}


class _Layer(msgspec.Struct, rename="camel", omit_defaults=True):
    media_type: str
    digest: str
    size: int
    annotations: dict[str, str] = {}


class _Index(msgspec.Struct):
    manifests: list[_Descriptor]


class _Manifest(msgspec.Struct):
    config: _Descriptor
    layers: list[_Layer]


class _RootFs(msgspec.Struct):
    diff_ids: list[str]


class _Config(msgspec.Struct):
    architecture: str
    os: str
    rootfs: _RootFs
    config: dict[str, Any] | None = None
    history: list[Any] | None = None


T = TypeVar("T", bound=msgspec.Struct)


@dataclass(frozen=True)
class BaseImage:
    """An image of one architecture.

    Attributes:
        config: its configuration, with platform and ``diff_ids``.
        layers: descriptors of its layers.
        blobs: content of the layers, in their order.
    """

    config: Json
    layers: list[Json]
    blobs: list[bytes]


def read_base(layout: Path) -> list[BaseImage]:
    """Read the one image of a layout, for each of its architectures.

    Args:
        layout: its folder.

    Returns:
        The images.

    Raises:
        UsageError: when the folder is no layout, or has another number of images than one.
        ArtifactError: when a blob is missing or damaged.
    """
    try:
        content = (layout / "index.json").read_bytes()
    except OSError as exc:
        raise UsageError(
            f"--base {layout} is no OCI image layout ({exc.strerror}): write one with "
            "skopeo copy --all docker://IMAGE oci:DIR"
        ) from exc
    found = _decode(content, _Index, layout).manifests
    if len(found) != 1:
        raise UsageError(f"--base {layout} has {len(found)} images: give a layout with one")
    (top,) = found
    if top.media_type == INDEX:
        found = _decode(_read_blob(layout, top.digest), _Index, layout).manifests
    # Attestations of BuildKit stand among the images, for no platform.
    images = [one for one in found if one.platform.get("os") != "unknown"]
    bases = [_read_image(layout, one) for one in images if one.media_type == MANIFEST]
    if not bases:
        raise UsageError(f"--base {layout} has no image in OCI's format")
    return bases


def _read_image(layout: Path, descriptor: _Descriptor) -> BaseImage:
    manifest = _decode(_read_blob(layout, descriptor.digest), _Manifest, layout)
    content = _read_blob(layout, manifest.config.digest)
    checked = _decode(content, _Config, layout)
    config: Json = msgspec.json.decode(content)
    if len(manifest.layers) != len(checked.rootfs.diff_ids):
        raise ArtifactError(f"{layout}: an image lists its layers inconsistently; copy it again")
    layers: list[Json] = [msgspec.to_builtins(one) for one in manifest.layers]
    blobs = [_read_blob(layout, one.digest) for one in manifest.layers]
    return BaseImage(config, layers, blobs)


def _read_blob(layout: Path, digest: str) -> bytes:
    match = _DIGEST.fullmatch(digest)
    if not match:
        raise ArtifactError(f"{layout}: {digest!r} is no SHA-256 of a blob; copy the image again")
    path = layout / "blobs" / "sha256" / match[1]
    try:
        content = path.read_bytes()
    except OSError as exc:
        raise ArtifactError(f"cannot read {path}: {exc.strerror}; copy the image again") from exc
    if hashlib.sha256(content).hexdigest() != match[1]:
        raise ArtifactError(f"{path} is damaged; copy the image again")
    return content


def _decode(content: bytes, kind: type[T], layout: Path) -> T:
    try:
        return msgspec.json.decode(content, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as exc:
        raise ArtifactError(f"{layout} is damaged: {exc}; copy the image again") from exc
