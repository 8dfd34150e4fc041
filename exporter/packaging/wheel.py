"""The wheel of the onnxferry that is installed here, and the versions of what it depends on.

A package carries both, so that what was tested is what runs: no registry has onnxferry.
"""

from __future__ import annotations

import base64
import hashlib
import io
import re
import zipfile
from importlib import import_module, metadata
from pathlib import Path
from typing import TYPE_CHECKING, Final

from runtime.errors import UnavailableError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_NAME: Final = "onnxferry"
_PACKAGES: Final = ("exporter", "runtime", "trainer")
_REQUIREMENT: Final = re.compile(r"([A-Za-z0-9._-]+)[^;]*(?:;(.*))?")
_EXTRA: Final = re.compile(r"extra == ['\"]([^'\"]+)['\"]")
_BUILDS: Final = {
    "onnxruntime": "onnxruntime-gpu"
}  # of the same version; an image takes the former
_TAG: Final = "py3-none-any"


def source_files(package: str) -> dict[str, bytes]:
    """Read an installed package of ours, by path in a wheel."""
    root = Path(str(import_module(package).__file__)).parent
    return {
        str(path.relative_to(root.parent)): path.read_bytes()
        for path in sorted(root.rglob("*"))
        if path.is_file() and path.suffix != ".pyc"
    }


def build_wheel() -> tuple[str, bytes]:
    """Build the wheel of the installed onnxferry; its name, and the same bytes each time."""
    installed = metadata.distribution(_NAME)
    folder = f"{_NAME}-{installed.version}.dist-info"
    files = {name: content for one in _PACKAGES for name, content in source_files(one).items()}
    for name in ("METADATA", "entry_points.txt", "licenses/LICENSE"):
        files[f"{folder}/{name}"] = (installed.read_text(name) or "").encode()
    files[f"{folder}/WHEEL"] = (
        f"Wheel-Version: 1.0\nGenerator: {_NAME}\nRoot-Is-Purelib: true\nTag: {_TAG}\n".encode()
    )
    record = "".join(_record(name, content) for name, content in files.items())
    files[f"{folder}/RECORD"] = f"{record}{folder}/RECORD,,\n".encode()
    return f"{_NAME}-{installed.version}-{_TAG}.whl", _archive(files)


def pinned_requirements(extras: Iterable[str]) -> bytes:
    """Write the exact versions, installed here, of all that onnxferry needs with these extras.

    Raises ``UnavailableError`` when one is not installed.
    """
    wanted, pins = frozenset(extras), {}
    pending = list(_requirements(_NAME, wanted))
    while pending:
        name, is_needed = pending.pop()
        if name in pins:
            continue
        found = _installed(name)
        if found is not None:
            pins[name] = found.version
            pending += _requirements(found.metadata["Name"], frozenset())
        elif is_needed:
            what = f"{_NAME}[{','.join(sorted(wanted))}]"
            raise UnavailableError(
                f'{name} is not installed, so its version is unknown: pip install "{what}"'
            )
    return "".join(f"{name}=={pins[name]}\n" for name in sorted(pins)).encode()


def _requirements(name: str, extras: frozenset[str]) -> Iterator[tuple[str, bool]]:
    """List a distribution's requirements, and whether each is needed on every platform."""
    for text in metadata.requires(name) or ():
        match = _REQUIREMENT.match(text)
        marker = (match and match[2]) or ""
        extra = _EXTRA.search(marker)
        if match and (not extra or extra[1] in extras):
            rest = _EXTRA.sub("", marker).strip()
            yield re.sub(r"[-_.]+", "-", match[1]).lower(), rest in {"", "()"}


def _installed(name: str) -> metadata.Distribution | None:
    for candidate in (name, _BUILDS.get(name, name)):
        try:
            return metadata.distribution(candidate)
        except metadata.PackageNotFoundError:
            continue
    return None


def _record(name: str, content: bytes) -> str:
    digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=")
    return f"{name},sha256={digest.decode()},{len(content)}\n"


def _archive(files: dict[str, bytes]) -> bytes:
    """Write undated, stored entries: the output of zlib differs between its versions."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in files.items():
            entry = zipfile.ZipInfo(name)
            entry.external_attr = 0o100644 << 16
            archive.writestr(entry, content)
    return buffer.getvalue()
