"""Folders of links, as volumes and caches present a bundle."""

from __future__ import annotations

import hashlib
import shutil
from itertools import count
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

_NUMBERS = count()


def config_map(bundle: Path, folder: Path) -> Path:
    """Mount a bundle as kubelet does a ConfigMap: files lead through ``..data``."""
    mount = folder / "mount"
    mount.mkdir()
    switch_config_map(mount, bundle)
    for path in bundle.iterdir():
        (mount / path.name).symlink_to(f"..data/{path.name}")
    return mount


def switch_config_map(mount: Path, bundle: Path) -> None:
    """Replace the files as kubelet does: ``..data`` is switched, the old folder removed."""
    new = mount / f"..2026_01_01_00_00_{next(_NUMBERS)}"
    shutil.copytree(bundle, new)
    data = mount / "..data"
    old = data.readlink() if data.is_symlink() else None
    (mount / "..data_tmp").symlink_to(new.name)
    (mount / "..data_tmp").rename(data)
    if old:
        shutil.rmtree(mount / old)


def storage_initializer(bundle: Path, folder: Path) -> Path:
    """Mount a bundle as KServe does from a volume: absolute links."""
    mount = folder / "models"
    mount.mkdir()
    for path in bundle.iterdir():
        (mount / path.name).symlink_to(path.resolve())
    return mount


def snapshot(bundle: Path, folder: Path) -> Path:
    """Store a bundle as Hugging Face's cache does: links to blobs named by their hash."""
    mount = folder / "models--org--name" / "snapshots" / "0f00"
    mount.mkdir(parents=True)
    blobs = folder / "models--org--name" / "blobs"
    blobs.mkdir()
    for path in bundle.iterdir():
        if not path.is_file():
            continue
        blob = blobs / hashlib.sha256(path.read_bytes()).hexdigest()
        shutil.copy(path, blob)
        (mount / path.name).symlink_to(f"../../blobs/{blob.name}")
    return mount
