"""Read a bundle of format 1, local or in an object store.

The digest of every file is verified and, with a key, the signature.

Links are followed: volumes of Kubernetes and snapshots of Hugging Face consist of them. A link
of a bundle from elsewhere discloses nothing, because a file is used only if it has the digest in
the manifest, and messages quote no content.
"""

from __future__ import annotations

import hashlib
import io
import os
import stat
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec.structs import replace

from runtime.bundle.manifest import (
    GOLDEN,
    MANIFEST,
    ONNX_MODEL,
    SIGNATURE,
    File,
    Manifest,
    parse_manifest,
)
from runtime.errors import ArtifactError, DataError
from runtime.io.paths import parse_local_path
from runtime.value import Value

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from typing import Literal

    from runtime.bundle.keys import PublicKey
    from runtime.io.paths import Location
    from runtime.io.stores.object_path import ObjectPath

    SignatureState = Literal["none", "unchecked", "verified"]

_REQUIRED = (ONNX_MODEL, GOLDEN)
_ADVICE = "copy the bundle again or export it again"
_MAX_MANIFEST_BYTES = 16 * 1024 * 1024  # a thousand features take about 100 kB
_MAX_BUNDLE_BYTES = 8 * 1024**3  # an ONNX file has at most 2 GiB
_MAX_OTHER_BYTES = 64 * 1024 * 1024  # of a file that is signed, but not in the manifest
_MAX_SWITCHES = 10  # while one bundle is read
_MAX_SIGNATURE_BYTES = 4 * 1024 * 1024  # a file takes about 250 bytes of it


class BundleFiles(Value, frozen=True):
    """A bundle whose files match its manifest.

    Attributes:
        path: its folder.
        manifest: contents and metadata.
        files: content of each file in the manifest, by name.
        content: of the manifest's file.
        signature: content of the signature's file; None without one.
        signer: the key with which the signature was verified; None if it was not.
    """

    path: Location
    manifest: Manifest
    files: Mapping[str, bytes]
    content: bytes = b""
    signature: bytes | None = None
    signer: PublicKey | None = None

    @property
    def signature_state(self) -> SignatureState:
        """Whether there is a signature, and whether it was verified."""
        if self.signature is None:
            return "none"
        return "verified" if self.signer else "unchecked"


def read_bundle(path: Location, key: str | os.PathLike[str] | None = None) -> BundleFiles:
    """Read a bundle and verify the size and SHA-256 of every file in its manifest.

    When a link is switched or the manifest replaced while files are read, all are read again, so
    that a bundle is never a mix of two.

    Args:
        path: its folder.
        key: PEM file of the public key that must have signed the bundle; None for any bundle.

    Returns:
        The bundle as it was verified; what changes on the disk later has no effect.

    Raises:
        ArtifactError: when the bundle is missing, damaged or of an unknown format, or with a key
            not signed by it or altered since.
        UsageError: when the file of the key has none.
        UnavailableError: with a key, without the extra ``sign``.
    """
    signer = _load_key(key)
    for _ in range(_MAX_SWITCHES):
        before = _identity(path / MANIFEST)
        try:
            return _read_once(path, signer)
        except ArtifactError:
            if _identity(path / MANIFEST) == before:
                raise
    return _read_once(path, signer)


def file_digests(bundle: BundleFiles) -> dict[str, str]:
    """Return the hexadecimal SHA-256 of every file that a signature covers, by its path.

    Raises ``ArtifactError`` when a file that is not in the manifest cannot be read.
    """
    return _digests(bundle, _read_others(bundle))


def read_unlisted(bundle: BundleFiles) -> dict[str, bytes]:
    """Read the files that are not in the manifest, such as a model card; the signature aside.

    Raises ``ArtifactError`` when one cannot be read, or is not what the signature says. That holds
    without a key, too: a link of a bundle from elsewhere could lead to a file of this machine.
    """
    from runtime.bundle.signature import stated_digests
    from runtime.bundle.signed_files import check_digests

    found = dict(_read_others(bundle))
    if bundle.signature is not None:
        where = str(bundle.path / SIGNATURE)
        signed = (
            _signed_digests(bundle, bundle.signer)
            if bundle.signer
            else stated_digests(bundle.signature, where=where)
        )
        check_digests(bundle.path, signed, _digests(bundle, found.items()))
    return found


def _digests(bundle: BundleFiles, others: Iterable[tuple[str, bytes]]) -> dict[str, str]:
    found = {name: file.sha256 for name, file in bundle.manifest.files.items()}
    found[MANIFEST] = digest(bundle.content).sha256
    return found | {name: digest(content).sha256 for name, content in others}


def _read_others(bundle: BundleFiles) -> Iterator[tuple[str, bytes]]:
    from runtime.bundle.signed_files import list_files

    advice = "remove it from the bundle, or sign the bundle again"
    for name in list_files(bundle.path):
        if name != MANIFEST and name not in bundle.manifest.files:
            where = bundle.path / name
            yield name, read_regular_file(where, limit=_MAX_OTHER_BYTES, advice=advice)


def _load_key(path: str | os.PathLike[str] | None) -> PublicKey | None:
    if path is None:
        return None
    from runtime.bundle.keys import load_public_key

    return load_public_key(parse_local_path(path))


def _identity(path: Location) -> object:
    """Return what changes when a file, or a link on the way to it, is replaced."""
    if not isinstance(path, Path):
        return path.etag()
    try:
        state = path.stat()
    except OSError:
        return None
    return state.st_dev, state.st_ino, state.st_size, state.st_ctime_ns


def _read_once(path: Location, key: PublicKey | None) -> BundleFiles:
    where = path / MANIFEST
    found = _find_manifest(path) if isinstance(path, Path) else _find_object(path)
    content = read_regular_file(found, limit=_MAX_MANIFEST_BYTES, advice=_ADVICE)
    manifest = parse_manifest(content, where=str(where))
    for name in _REQUIRED:
        if name not in manifest.files:
            raise ArtifactError(f"{where} does not list {name}; export the model again")
    if sum(file.size for file in manifest.files.values()) > _MAX_BUNDLE_BYTES:
        raise ArtifactError(f"{where} lists more than {_MAX_BUNDLE_BYTES} bytes; export it again")
    files = {
        name: _read_listed(path, found.parent, name, file) for name, file in manifest.files.items()
    }
    if manifest.model.version != model_version(manifest.files[ONNX_MODEL]):
        raise ArtifactError(
            f"{where} has model version {manifest.model.version}, which is not the digest of its "
            f"{ONNX_MODEL}; export the model again"
        )
    bundle = BundleFiles(path, manifest, files, content, _read_signature(path, found.parent))
    return _check_signed(bundle, key) if key else bundle


def _find_manifest(path: Path) -> Path:
    """Find the file of the manifest; it stays the same when a link on the way is switched."""
    where = path / MANIFEST
    try:
        is_folder = path.is_dir()
        has_manifest = where.exists() or where.is_symlink()
    except OSError as exc:
        raise ArtifactError(f"cannot read the bundle {path}: {exc.strerror}") from exc
    if not is_folder:
        raise ArtifactError(
            f"no bundle at {path}{_describe_link(path)}: create one with 'exporter export', "
            "or name the folder of another"
        )
    if not has_manifest:
        raise ArtifactError(f"{path} is not a bundle: it has no {MANIFEST}")
    real = Path(os.path.realpath(where))
    return real if os.path.isfile(real) else where  # noqa: PTH113 - raises nothing


def _find_object(path: ObjectPath) -> ObjectPath:
    """Find the object of the manifest."""
    where = path / MANIFEST
    try:
        if where.is_file():
            return where
        holds_others = path.is_dir()
    except DataError as exc:  # no bucket
        raise ArtifactError(f"no bundle at {path}: {exc}") from exc
    if holds_others:
        raise ArtifactError(f"{path} is not a bundle: it has no {MANIFEST}")
    raise ArtifactError(
        f"no bundle at {path}: copy one there that 'exporter export' has created, or name "
        "the folder of another"
    )


def _check_signed(bundle: BundleFiles, key: PublicKey) -> BundleFiles:
    """Return a bundle whose files are those that the key's owner signed, no more and no fewer."""
    from runtime.bundle.signed_files import check_digests

    signed = _signed_digests(bundle, key)
    check_digests(bundle.path, signed, file_digests(bundle))
    return replace(bundle, signer=key)


def _signed_digests(bundle: BundleFiles, key: PublicKey) -> dict[str, str]:
    """Return the digest of each file that the key's owner signed."""
    from runtime.bundle.signature import verify_signature

    if bundle.signature is None:
        raise ArtifactError(
            f"{bundle.path} is not signed (it has no {SIGNATURE}), and a signature is required: "
            "copy it again with its signature, or sign it with 'exporter sign'"
        )
    where = str(bundle.path / SIGNATURE)
    return verify_signature(bundle.signature, key, where=where)


def _read_signature(folder: Location, beside: Location) -> bytes | None:
    """Read the signature beside the manifest that was read, or by its link; None without one."""
    for path in (beside / SIGNATURE, folder / SIGNATURE):
        if os.path.lexists(path) if isinstance(path, Path) else path.is_file():
            return read_regular_file(path, limit=_MAX_SIGNATURE_BYTES, advice=_ADVICE)
    return None


def digest(content: bytes) -> File:
    """Compute the digest and size of a file's content."""
    return File(sha256=hashlib.sha256(content).hexdigest(), size=len(content))


def model_version(model: File) -> str:
    """Derive a model's version: the first twelve digits of the SHA-256 of ``model.onnx``."""
    return model.sha256[:12]


def read_regular_file(path: Location, *, limit: int, advice: str) -> bytes:
    """Read a regular file of at most ``limit`` bytes, or one that a link leads to, or an object.

    Raises ``ArtifactError``, whose message ends with ``advice``.
    """
    if not isinstance(path, Path):
        from runtime.io.stores.reading import read_object

        try:
            return read_object(path, limit=limit)
        except DataError as exc:  # missing, too large, or it changed
            raise ArtifactError(f"{exc}; {advice}") from exc
    try:
        _check_regular(path, path.stat(), advice)  # to open a device may have effects
        with io.BufferedReader(io.FileIO(path, opener=_open_non_blocking)) as stream:
            state = os.fstat(stream.fileno())
            _check_regular(path, state, advice)
            if state.st_size > limit:
                raise ArtifactError(
                    f"{path} has {state.st_size} bytes, more than the {limit} it may have; {advice}"
                )
            return stream.read(state.st_size + 1)
    except FileNotFoundError as exc:
        link = _describe_link(path)
        what = f"{path} leads nowhere{link}: cp -rL copies files" if link else f"{path} is missing"
        raise ArtifactError(f"{what}; {advice}") from exc
    except OSError as exc:
        raise ArtifactError(
            f"cannot read {path}{_describe_link(path)}: {exc.strerror}; {advice}"
        ) from exc
    except MemoryError as exc:
        raise ArtifactError(f"cannot read {path}: it is larger than the available memory") from exc


def _check_regular(path: Path, state: os.stat_result, advice: str) -> None:
    if not stat.S_ISREG(state.st_mode):
        raise ArtifactError(f"{path}{_describe_link(path)} is not a regular file; {advice}")


def _describe_link(path: Path) -> str:
    """Describe where a link leads, in brackets; empty for anything else."""
    try:
        return f" (a link to {path.readlink()})"
    except OSError:
        return ""


def _read_listed(folder: Location, beside: Location, name: str, expected: File) -> bytes:
    """Read a file that the manifest lists: beside the manifest that was read, or by its link."""
    if name in {"", ".", "..", MANIFEST, SIGNATURE} or "/" in name or "\\" in name or "\0" in name:
        raise ArtifactError(f"{folder / MANIFEST} lists {name!r}, no file of the bundle")
    if beside != folder:
        with suppress(ArtifactError):
            return _read_checked(beside / name, expected)
    return _read_checked(folder / name, expected)


def _read_checked(path: Location, expected: File) -> bytes:
    content = read_regular_file(path, limit=expected.size, advice=_ADVICE)
    return _check_digest(path, content, expected)


def _check_digest(path: Location, content: bytes, expected: File) -> bytes:
    found = digest(content)
    if found != expected:
        raise ArtifactError(
            f"{path} is not the file that was exported "
            f"(sha256 {found.sha256[:12]}…, expected {expected.sha256[:12]}…); "
            "copy the bundle again or export it again"
        )
    return content


def _open_non_blocking(path: str, flags: int) -> int:
    """Open a path without waiting for the writer of a pipe."""
    return os.open(path, flags | os.O_NONBLOCK)
