"""The checkpoint format, version 1: a training state on disk.

    checkpoint.json               position, options, and the digests of the other files
    last.EPOCH.STEP.safetensors   weights, the optimiser's moments, losses of the epoch so far
    best.EPOCH.safetensors        weights of the best epoch, with a validation split

``checkpoint.json`` is renamed into place after the files that it names are on disk, and the files
of the previous checkpoint are removed after that: there is always one complete checkpoint.
"""

from __future__ import annotations

import hashlib
from contextlib import contextmanager
from dataclasses import fields
from typing import TYPE_CHECKING, Final, Literal

import msgspec
import torch
from safetensors.torch import save

from runtime.bundle.manifest import File, Scalar, parse_record, to_json
from runtime.bundle.reading import digest, read_regular_file
from runtime.errors import ArtifactError
from runtime.io.atomic import atomic_file
from runtime.surfaces import option
from runtime.value import Record
from trainer.checkpoint.state import BestEpoch, Epoch, TrainingState
from trainer.config import Configuration
from trainer.run import ADVICE, damaged, read_tensors

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


FORMAT: Final = 1
CHECKPOINT = "checkpoint.json"
Kind = Literal["last", "best"]
_LOSSES = "losses"
_MAX_SIZE = 2**20  # bytes of checkpoint.json; it has a few thousand


class FitIdentity(Record, frozen=True):
    """What identifies a training run: a checkpoint resumes only the same one.

    Attributes:
        hidden: widths of the hidden layers.
        seed: see ``Configuration``.
        options: all other options, and the device.
        data_digest: of the rows.
        versions: of the packages used in training.
    """

    hidden: tuple[int, ...]
    seed: int
    options: dict[str, Scalar]
    data_digest: str
    versions: dict[str, str]

    def configuration(self) -> Configuration:
        """Convert the stored options to a configuration."""
        known = {field.name for field in fields(Configuration)} & self.options.keys()
        options: dict[str, object] = {name: self.options[name] for name in known}
        return msgspec.convert(
            options | {"hidden": self.hidden, "seed": self.seed}, type=Configuration
        )


class CheckpointRecord(Record, frozen=True):
    """The content of ``checkpoint.json``.

    Attributes:
        format: version of the checkpoint format.
        fit: identity of the run.
        epoch: of the next step, from 0.
        step: of the next step in its epoch, from 0.
        last: the epoch before.
        best: the best epoch so far.
        files: the weights files, by kind: ``last`` and ``best``.
        log_positions: the name of each log file, and its size in bytes at this point.
        sha256: of this record with an empty ``sha256``.
    """

    format: Literal[1]
    fit: FitIdentity
    epoch: int
    step: int
    last: Epoch | None
    best: Epoch | None
    files: dict[str, File]
    log_positions: dict[str, tuple[str, int]] = msgspec.field(name="journals")
    sha256: str = ""

    def with_digest(self) -> CheckpointRecord:
        """Copy the record with its digest."""
        bare = to_json(msgspec.structs.replace(self, sha256=""))
        return msgspec.structs.replace(self, sha256=hashlib.sha256(bare).hexdigest())

    def file_name(self, kind: Kind) -> str:
        """Name a weights file."""
        position = (
            f"{self.epoch}.{self.step}" if self.best is None or kind == "last" else self.best.index
        )
        return f"{kind}.{position}.safetensors"

    @property
    def where(self) -> str:
        """The next step as text, counted from 1."""
        return f"epoch {self.epoch + 1}, step {self.step + 1}"


def write_checkpoint(
    folder: Path, fit: FitIdentity, state: TrainingState, log_positions: dict[str, tuple[str, int]]
) -> CheckpointRecord:
    """Replace the previous checkpoint; ``log_positions`` are names and sizes of the log files."""
    contents: dict[Kind, bytes] = {"last": save({**state.tensors, _LOSSES: state.losses})}
    if state.best:
        contents["best"] = save({name: weight.cpu() for name, weight in state.best.weights.items()})
    record = CheckpointRecord(
        format=FORMAT,
        fit=fit,
        epoch=state.epoch,
        step=state.step,
        last=state.last,
        best=state.best.epoch if state.best else None,
        files={kind: digest(content) for kind, content in contents.items()},
        log_positions=log_positions,
    ).with_digest()
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
def _advise_restart() -> Iterator[None]:
    """Add to an error the option of a fresh start."""
    try:
        yield
    except ArtifactError as exc:
        raise ArtifactError(f"{exc}, with {option('restart', True)}") from exc


@_advise_restart()
def read_record(folder: Path) -> CheckpointRecord | None:
    """Read ``checkpoint.json``; None where there is none."""
    path = folder / CHECKPOINT
    if not path.exists() and not path.is_symlink():
        return None
    content = read_regular_file(path, limit=_MAX_SIZE, advice=ADVICE)
    record = parse_record(content, CheckpointRecord, known_format=FORMAT, where=str(path))
    if to_json(record.with_digest()) != content:
        raise damaged(path, "its digest does not match its content")
    return record


@_advise_restart()
def read_state(folder: Path, record: CheckpointRecord) -> TrainingState:
    """Read the training state of a checkpoint."""
    path = folder / record.file_name("last")
    if record.files.keys() != ({"last", "best"} if record.best else {"last"}):
        raise damaged(folder / CHECKPOINT, f"it lists {sorted(record.files)}")
    tensors = read_tensors(path, record.files["last"])
    losses = tensors.pop(_LOSSES, torch.empty(0))
    if losses.shape != (record.step,):
        raise damaged(path, f"it has {losses.numel()} losses for {record.step} steps")
    best = None
    if record.best:
        weights = read_tensors(folder / record.file_name("best"), record.files["best"])
        best = BestEpoch(record.best, weights)
    return TrainingState(record.epoch, record.step, tensors, losses, record.last, best)
