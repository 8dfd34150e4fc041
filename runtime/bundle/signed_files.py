"""The files of a bundle that its signature covers: all in its folder, no more and no fewer."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, Final

from msgspec.structs import replace

from runtime.bundle.manifest import MANIFEST, SIGNATURE
from runtime.bundle.reading import digest, read_regular_file
from runtime.bundle.signature import verify_signature
from runtime.errors import ArtifactError
from runtime.printable import list_names

if TYPE_CHECKING:
    from pathlib import Path

    from runtime.bundle.keys import PublicKey
    from runtime.bundle.reading import BundleFiles

# What model-signing leaves out, too.
UNSIGNED: Final = (SIGNATURE, ".git", ".gitattributes", ".github", ".gitignore")
# Kubernetes' own in the volume of a ConfigMap or Secret.
_VOLUME: Final = re.compile(r"\.\.data(_tmp)?|\.\.\d{4}_\d\d_\d\d_.*")
_MAX_OTHER_BYTES: Final = 64 * 1024 * 1024  # of a file that is not in the manifest
_ADVICE: Final = "remove it from the bundle, or sign the bundle again"


def check_signed(bundle: BundleFiles, key: PublicKey) -> BundleFiles:
    """Check that the owner of a key signed a bundle as it was read.

    Args:
        bundle: as it was read.
        key: of the signer.

    Returns:
        The bundle with its signer.

    Raises:
        ArtifactError: when it is not signed, or by another key, or a file was changed, added or
            removed since.
    """
    path = bundle.path
    if bundle.signature is None:
        raise ArtifactError(
            f"{path} is not signed (it has no {SIGNATURE}), and a signature is required: copy it "
            "again with its signature, or sign it with 'exporter sign'"
        )
    signed = verify_signature(bundle.signature, key, where=str(path / SIGNATURE))
    found = file_digests(bundle)
    differences = {
        "changed": {name for name in signed.keys() & found if signed[name] != found[name]},
        "added": found.keys() - signed.keys(),
        "missing": signed.keys() - found.keys(),
    }
    if any(differences.values()):
        listed = [
            f"{what} {list_names(sorted(names))}" for what, names in differences.items() if names
        ]
        raise ArtifactError(
            f"{path} is not what was signed: {'; '.join(listed)}; copy it again; if you "
            "changed it yourself, sign it again with 'exporter sign'"
        )
    return replace(bundle, signer=key)


def file_digests(bundle: BundleFiles) -> dict[str, str]:
    """Return the hexadecimal SHA-256 of every file that a signature covers, by its path.

    Raises ``ArtifactError`` when a file that is not in the manifest cannot be read.
    """
    found = {name: file.sha256 for name, file in bundle.manifest.files.items()}
    found[MANIFEST] = digest(bundle.content).sha256
    for name in _list_files(bundle.path):
        if name not in found:
            path = bundle.path / name
            content = read_regular_file(path, limit=_MAX_OTHER_BYTES, advice=_ADVICE)
            found[name] = digest(content).sha256
    return found


def _list_files(folder: Path) -> list[str]:
    """List the paths of a bundle's files; a link to a folder counts as a file."""
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


def _scan(folder: Path) -> list[tuple[str, bool]]:
    try:
        with os.scandir(folder) as entries:
            return [(entry.name, entry.is_dir(follow_symlinks=False)) for entry in entries]
    except OSError as exc:
        raise ArtifactError(f"cannot read {folder}: {exc.strerror}; {_ADVICE}") from exc
