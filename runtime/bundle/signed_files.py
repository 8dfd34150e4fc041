"""The files that a bundle's signature covers: all in its folder, no more and no fewer."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Final

from runtime.bundle.manifest import SIGNATURE
from runtime.errors import ArtifactError
from runtime.printable import list_names

if TYPE_CHECKING:
    from collections.abc import Mapping

    from runtime.io.paths import Location
    from runtime.io.stores.object_path import ObjectPath

# What model-signing leaves out, too.
UNSIGNED: Final = (SIGNATURE, ".git", ".gitattributes", ".github", ".gitignore")
# Kubernetes' own in the volume of a ConfigMap or Secret.
_VOLUME: Final = re.compile(r"\.\.data(_tmp)?|\.\.\d{4}_\d\d_\d\d_.*")


def list_files(folder: Location) -> list[str]:
    """List the paths of a bundle's files; a link to a folder counts as a file.

    Raises ``ArtifactError`` when a folder cannot be read.
    """
    if not isinstance(folder, Path):
        return _list_stored(folder)
    found, pending = [], [""]
    while pending:
        prefix = pending.pop()
        for name, is_folder in _scan(folder / prefix):
            if not prefix and (name in UNSIGNED or _VOLUME.fullmatch(name)):
                continue
            if is_folder:
                pending.append(f"{prefix}{name}/")
            else:
                found.append(f"{prefix}{name}")
    return found


def _list_stored(prefix: ObjectPath) -> list[str]:
    from runtime.io.stores.listing import list_objects

    depth = len(prefix.parts)
    found = [each.path.parts[depth:] for each in list_objects(prefix)]
    return ["/".join(parts) for parts in found if parts[0] not in UNSIGNED]


def check_digests(path: Location, signed: Mapping[str, str], found: Mapping[str, str]) -> None:
    """Check that the files of a bundle are those that were signed.

    Args:
        path: the bundle's folder, for messages.
        signed: hexadecimal SHA-256 of each signed file, by its path in the bundle.
        found: likewise of each file that there is.

    Raises:
        ArtifactError: when a file was changed, added or removed; the message names it.
    """
    differences = {
        "changed": {name for name in signed.keys() & found if signed[name] != found[name]},
        "added": found.keys() - signed.keys(),
        "missing": signed.keys() - found.keys(),
    }
    if any(differences.values()):
        listed = [
            f"{how} {list_names(sorted(names))}" for how, names in differences.items() if names
        ]
        raise ArtifactError(
            f"{path} is not what was signed: {'; '.join(listed)}; copy it again; if you changed it "
            "yourself, sign it again with 'exporter sign'"
        )


def _scan(folder: Path) -> list[tuple[str, bool]]:
    try:
        with os.scandir(folder) as entries:
            return [(entry.name, entry.is_dir(follow_symlinks=False)) for entry in entries]
    except OSError as exc:
        raise ArtifactError(
            f"cannot read {folder}, and every file of a signed bundle is verified: {exc.strerror}"
        ) from exc
