"""Sign a bundle: ``model.sig`` beside its files, in the format of OpenSSF model-signing."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from runtime.bundle.keys import load_private_key
from runtime.bundle.manifest import MANIFEST, SIGNATURE
from runtime.bundle.reading import file_digests, read_bundle
from runtime.bundle.signature import sign_digests
from runtime.bundle.signed_files import UNSIGNED
from runtime.errors import ArtifactError
from runtime.io.atomic import atomic_file
from runtime.io.paths import parse_location
from runtime.printable import list_names

if TYPE_CHECKING:
    import os
    from collections.abc import Iterable

    from runtime.io.paths import Location


@dataclass(frozen=True)
class SignedBundle:
    """A bundle that was signed.

    Attributes:
        signature: the file that was written.
        model: name of the model.
        version: of the model.
        files: paths of the signed files, sorted.
        unlisted: those that are not in the manifest.
        curve: of the key, as NIST names it.
    """

    signature: Location
    model: str
    version: str
    files: tuple[str, ...]
    unlisted: tuple[str, ...]
    curve: str

    def to_json(self) -> dict[str, object]:
        """Return the values for machines."""
        return {
            "signature": str(self.signature),
            "model": self.model,
            "version": self.version,
            "files": list(self.files),
            "curve": self.curve,
        }


def sign_bundle(
    bundle: str | os.PathLike[str] | Location,
    key: str | os.PathLike[str],
    *,
    passphrase: bytes | None = None,
) -> SignedBundle:
    """Sign a bundle: every file in its folder, as it is now.

    The same bundle and key give the same signature. An earlier signature is replaced; the model's
    version and the digests in the manifest stay.

    Args:
        bundle: its folder, local or in an object store.
        key: PEM file of the private key, ECDSA on P-256, P-384 or P-521.
        passphrase: of a key that is encrypted; ignored for one that is not.

    Returns:
        What was signed.

    Raises:
        ArtifactError: when the bundle is missing or damaged, or a file's name is no text.
        UsageError: when the file has no such key, or the passphrase is wrong or missing.
        UnavailableError: without the extra ``sign``.
        DataError: when the signature cannot be written.
    """
    private = load_private_key(Path(key), passphrase)
    found = read_bundle(parse_location(bundle))
    digests, model = file_digests(found), found.manifest.model
    _check_names(found.path, digests)
    content = sign_digests(digests, private, name=model.name, ignored=UNSIGNED)
    where = found.path / SIGNATURE
    with atomic_file(where) as stream:
        stream.write(content)
    listed = {*found.manifest.files, MANIFEST}
    return SignedBundle(
        where,
        model.name,
        model.version,
        tuple(sorted(digests)),
        tuple(sorted(digests.keys() - listed)),
        private.public().curve,
    )


def _check_names(folder: Location, names: Iterable[str]) -> None:
    """Refuse names that JSON cannot hold; raises ``ArtifactError``."""
    # What is no UTF-8 has surrogates in Python.
    wrong = [name for name in names if any("\ud800" <= char <= "\udfff" for char in name)]
    if wrong:
        raise ArtifactError(
            f"the names of files in {folder} are not UTF-8: {list_names(sorted(wrong))}; rename or "
            "remove them, since a signature names every file"
        )
