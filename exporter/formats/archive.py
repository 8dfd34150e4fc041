"""Check a torch zip archive before torch opens it, unpickles and decompresses its entries."""

from __future__ import annotations

import io
import re
import zipfile
from typing import TYPE_CHECKING

from runtime.errors import ArtifactError

if TYPE_CHECKING:
    from collections.abc import Callable

# The entries of write_program: raw tensors, JSON, and example inputs that load as tensors.
_PROGRAM = re.compile(
    r"[^/]+/(archive_format|archive_version|byteorder|\.data/(version|serialization_id)"
    r"|models/model\.json|data/weights/(weight_\d+|model_weights_config\.json)"
    r"|data/constants/(tensor_\d+|model_constants_config\.json)|data/sample_inputs/model\.pt)"
)
_PICKLED = re.compile(rb'"use_pickle"\s*:\s*true')


def check_archive(content: bytes, *, where: str) -> None:
    """Refuse an archive with compressed entries: torch writes none, and a zip bomb needs them."""
    _check_entries(content, where, lambda _archive, _entry: False)


def check_program_archive(content: bytes, *, where: str) -> None:
    """Refuse, in addition, an archive with entries that torch would unpickle."""
    _check_entries(content, where, _is_unexpected)


def _check_entries(
    content: bytes,
    where: str,
    is_unexpected: Callable[[zipfile.ZipFile, zipfile.ZipInfo], bool],
) -> None:
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            for entry in archive.infolist():
                if entry.compress_type != zipfile.ZIP_STORED or is_unexpected(archive, entry):
                    raise ArtifactError(
                        f"{where} contains {entry.filename!r}, which the exporter does not write "
                        "and which is not opened; export again"
                    )
    except (zipfile.BadZipFile, ValueError, NotImplementedError, OSError) as exc:
        raise ArtifactError(f"torch cannot load {where}: {exc}; export again") from exc


def _is_unexpected(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> bool:
    if not _PROGRAM.fullmatch(entry.filename):
        return True
    if entry.filename.endswith("_config.json"):
        return _PICKLED.search(archive.read(entry)) is not None
    return entry.filename.endswith(".pt") and not _holds_tensors(archive.read(entry))


def _holds_tensors(content: bytes) -> bool:
    import torch

    try:
        torch.load(io.BytesIO(content), weights_only=True)
    except Exception:  # noqa: BLE001 - torch raises almost anything
        return False
    return True
