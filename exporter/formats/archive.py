"""Look at a zip archive of torch before torch opens it.

In: bytes. Out: nothing, or an ``ArtifactError``. Torch unpickles what an archive of a program
tells it to, and unpacks whatever size an entry declares; ours hold neither.
"""

from __future__ import annotations

import io
import re
import zipfile
from typing import TYPE_CHECKING

from runtime.errors import ArtifactError

if TYPE_CHECKING:
    from collections.abc import Callable

# What write_program leaves: tensors as bytes, JSON, and example inputs that are read as tensors.
_PROGRAM = re.compile(
    r"[^/]+/(archive_format|archive_version|byteorder|\.data/(version|serialization_id)"
    r"|models/model\.json|data/weights/(weight_\d+|model_weights_config\.json)"
    r"|data/constants/(tensor_\d+|model_constants_config\.json)|data/sample_inputs/model\.pt)"
)
_UNPICKLED = re.compile(rb'"use_pickle"\s*:\s*true')


def check_archive(content: bytes, *, where: str) -> None:
    """Refuse an archive with packed entries: torch writes none, and a bomb needs them.

    Args:
        content: of the file.
        where: its name for messages.

    Raises:
        ArtifactError: when it is no archive, or an entry is packed.
    """
    _check_entries(content, where, lambda _archive, _entry: False)


def check_program_archive(content: bytes, *, where: str) -> None:
    """Refuse, besides, an archive with entries that torch would unpickle.

    Args:
        content: of the file.
        where: its name for messages.

    Raises:
        ArtifactError: when it holds anything but tensors and JSON.
    """
    _check_entries(content, where, _is_foreign)


def _check_entries(
    content: bytes,
    where: str,
    is_foreign: Callable[[zipfile.ZipFile, zipfile.ZipInfo], bool],
) -> None:
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            for entry in archive.infolist():
                if entry.compress_type != zipfile.ZIP_STORED or is_foreign(archive, entry):
                    raise ArtifactError(
                        f"{where} holds {entry.filename!r}, which the exporter does not write and "
                        "which is not opened; export again"
                    )
    except (zipfile.BadZipFile, ValueError, NotImplementedError, OSError) as exc:
        raise ArtifactError(f"torch cannot load {where}: {exc}; export again") from exc


def _is_foreign(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> bool:
    if not _PROGRAM.fullmatch(entry.filename):
        return True
    if entry.filename.endswith("_config.json"):
        return _UNPICKLED.search(archive.read(entry)) is not None
    return entry.filename.endswith(".pt") and not _is_tensors(archive.read(entry))


def _is_tensors(content: bytes) -> bool:
    import torch

    try:
        torch.load(io.BytesIO(content), weights_only=True)
    except Exception:  # noqa: BLE001 - whatever torch finds in it, it is not tensors
        return False
    return True
