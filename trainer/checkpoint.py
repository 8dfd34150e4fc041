"""Checkpoints, format 1: a fit between two steps, on the disk.

    checkpoint.json            where the fit stands, and what the other files hold
    last.EPOCH.STEP.safetensors   weights, moments of the optimiser, losses of the epoch so far
    best.EPOCH.safetensors     weights of the best epoch so far, where rows are held out

``checkpoint.json`` takes its place by a rename when all that it names is on the disk, and what it
named before is removed after that: at any moment there is one checkpoint, whole. It carries a
digest of itself and of both files; whatever is wrong is an ``ArtifactError``.
"""

from __future__ import annotations

import hashlib
from contextlib import contextmanager
from dataclasses import fields
from typing import TYPE_CHECKING, Final, Literal

import msgspec
import torch
from safetensors.torch import save

from runtime.bundle.manifest import File, Record, Scalar, parse_record, to_json
from runtime.bundle.reading import digest
from runtime.errors import ArtifactError
from runtime.io.atomic import atomic_file
from trainer.config import Configuration
from trainer.epoch import Epoch
from trainer.snapshot import Best, Snapshot
from trainer.stored import damaged, read_file, read_tensors

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


FORMAT: Final = 1
CHECKPOINT = "checkpoint.json"
Kind = Literal["last", "best"]
_LOSSES = "losses"
_MAX_SIZE = 2**20  # bytes of checkpoint.json; it has a few thousand


class Fit(Record, frozen=True):
    """Which fit a checkpoint is of.

    Attributes:
        hidden: widths of the hidden layers.
        seed: see ``Configuration``.
        options: the other options, and the device.
        data_digest: of the rows.
        versions: of the packages that compute.
    """

    hidden: tuple[int, ...]
    seed: int
    options: dict[str, Scalar]
    data_digest: str
    versions: dict[str, str]

    def configuration(self) -> Configuration:
        """The options as ``fit`` takes them."""
        known = {field.name for field in fields(Configuration)} & self.options.keys()
        options: dict[str, object] = {name: self.options[name] for name in known}
        return msgspec.convert(
            options | {"hidden": self.hidden, "seed": self.seed}, type=Configuration
        )


class CheckpointRecord(Record, frozen=True):
    """What ``checkpoint.json`` says.

    Attributes:
        format: version of the checkpoint format.
        fit: which fit this is.
        epoch: of the next step, from 0.
        step: of the next step in its epoch, from 0.
        last: the epoch before.
        best: the best epoch so far.
        files: the other files, by what they hold: ``last`` and ``best``.
        journals: of each journal its name and its bytes up to here.
        sha256: of this record with an empty ``sha256``.
    """

    format: Literal[1]
    fit: Fit
    epoch: int
    step: int
    last: Epoch | None
    best: Epoch | None
    files: dict[str, File]
    journals: dict[str, tuple[str, int]]
    sha256: str = ""

    def sealed(self) -> CheckpointRecord:
        """The same with its digest."""
        bare = to_json(msgspec.structs.replace(self, sha256=""))
        return msgspec.structs.replace(self, sha256=hashlib.sha256(bare).hexdigest())

    def file_name(self, kind: Kind) -> str:
        """Name the file that holds the weights."""
        place = (
            f"{self.epoch}.{self.step}" if self.best is None or kind == "last" else self.best.index
        )
        return f"{kind}.{place}.safetensors"

    @property
    def where(self) -> str:
        """The next step, for people, who count from 1."""
        return f"epoch {self.epoch + 1}, step {self.step + 1}"


def write_checkpoint(
    folder: Path, fit: Fit, snapshot: Snapshot, journals: dict[str, tuple[str, int]]
) -> CheckpointRecord:
    """Write a checkpoint in place of the one before.

    Args:
        folder: existing.
        fit: which fit this is.
        snapshot: where it stands.
        journals: names and sizes, on the disk.

    Returns:
        What ``checkpoint.json`` says.

    Raises:
        DataError: when writing fails, for example on a full disk.
    """
    contents: dict[Kind, bytes] = {"last": save({**snapshot.tensors, _LOSSES: snapshot.losses})}
    if snapshot.best:
        contents["best"] = save({n: w.cpu() for n, w in snapshot.best.weights.items()})
    record = CheckpointRecord(
        format=FORMAT,
        fit=fit,
        epoch=snapshot.epoch,
        step=snapshot.step,
        last=snapshot.last,
        best=snapshot.best.epoch if snapshot.best else None,
        files={kind: digest(content) for kind, content in contents.items()},
        journals=journals,
    ).sealed()
    names = {record.file_name(kind): content for kind, content in contents.items()}
    for name, content in names.items():
        with atomic_file(folder / name) as stream:
            stream.write(content)
    with atomic_file(folder / CHECKPOINT) as stream:
        stream.write(to_json(record))
    for path in folder.glob("*.safetensors"):
        if path.name not in names:
            path.unlink()
    return record


@contextmanager
def _advice_to_start_anew() -> Iterator[None]:
    """Say of what is damaged that the option which read it leads nowhere."""
    try:
        yield
    except ArtifactError as exc:
        raise ArtifactError(f"{exc}, without --resume") from exc


@_advice_to_start_anew()
def read_record(folder: Path) -> CheckpointRecord | None:
    """Read ``checkpoint.json``; None where there is none.

    Args:
        folder: of the checkpoint; it may be missing.

    Returns:
        What it says.

    Raises:
        ArtifactError: when it is altered or of another format.
    """
    path = folder / CHECKPOINT
    if not path.exists() and not path.is_symlink():
        return None
    content = read_file(path, limit=_MAX_SIZE)
    record = parse_record(content, CheckpointRecord, known_format=FORMAT, where=str(path))
    if to_json(record.sealed()) != content:
        raise damaged(path, "its digest is not that of its content")
    return record


@_advice_to_start_anew()
def read_snapshot(folder: Path, record: CheckpointRecord) -> Snapshot:
    """Read what a record names.

    Args:
        folder: of the checkpoint.
        record: as ``read_record`` gave it.

    Returns:
        Where the fit stands.

    Raises:
        ArtifactError: when a file is missing or altered.
    """
    path = folder / record.file_name("last")
    if record.files.keys() != ({"last", "best"} if record.best else {"last"}):
        raise damaged(folder / CHECKPOINT, f"it lists {sorted(record.files)}")
    tensors = read_tensors(path, record.files["last"])
    losses = tensors.pop(_LOSSES, torch.empty(0))
    if losses.shape != (record.step,):
        raise damaged(path, f"it has {losses.numel()} losses of {record.step} steps")
    best = None
    if record.best:
        weights = read_tensors(folder / record.file_name("best"), record.files["best"])
        best = Best(record.best, weights)
    return Snapshot(record.epoch, record.step, tensors, losses, record.last, best)
