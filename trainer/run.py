"""The run folder, format 1: what ``trainer fit`` leaves behind and the exporter starts from.

    run.json             the RunRecord; the folder's marker
    weights.safetensors  the model's parameters, under the names of its state dict
    rows.safetensors     the first training and test rows, at most MAX_STORED_ROWS of each
    metrics.json         the Evaluation on the test rows (not listed in the record)
    metrics.jsonl        an object for every epoch (likewise)
    tensorboard/         event files (not listed in the record: they carry clock readings)

The same run gives the same bytes of the three files, in any folder on any day. Reading proves
every byte before it is used and never unpickles; whatever is wrong is an ``ArtifactError``.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Final, Literal

import msgspec
import torch
from safetensors.torch import save

from runtime.bundle.manifest import File, Record, Scalar, parse_record, to_json
from runtime.bundle.reading import digest
from runtime.schema.features import Schema
from trainer.imputation import FILLS, Imputation
from trainer.model import SimpleNet, fill_first
from trainer.stored import Shapes, check_tensors, damaged, read_file, read_tensors
from trainer.table.check import DataCheck

if TYPE_CHECKING:
    from pathlib import Path


FORMAT: Final = 1
RECORD = "run.json"
WEIGHTS = "weights.safetensors"
ROWS = "rows.safetensors"
MAX_STORED_ROWS = 10_000
_MAX_RECORD_SIZE = 16 * 2**20  # bytes; a record of thousands of columns stays far below


class RunRecord(Record, frozen=True):
    """Everything a run says of itself.

    Attributes:
        format: version of the run format.
        model: the kind of network.
        hidden: widths of its hidden layers.
        schema: the columns and classes it was trained on.
        configuration: every option of the fit, resolved; no paths.
        seed: of the data, the initial weights and the order of rows.
        data_digest: SHA-256 of all training and test tensors, stored here or not.
        metrics: by name; ``accuracy``, ``loss``, ``test_loss``, ``train_rows``, ``test_rows``,
            ``epochs``; where rows were held out, also ``best_epoch``, ``validation_loss`` and
            ``validation_accuracy``.
        versions: of the packages that trained it.
        files: the other files of the run, by name relative to it.
        check: of the user's own table, where it was one.
    """

    format: Literal[1]
    model: Literal["simplenet"]
    hidden: tuple[int, ...]
    schema: Schema
    configuration: dict[str, Scalar]
    seed: int
    data_digest: str
    metrics: dict[str, float]
    versions: dict[str, str]
    files: dict[str, File]
    check: DataCheck | msgspec.UnsetType = msgspec.UNSET

    def __post_init__(self) -> None:
        if any(width < 1 for width in self.hidden):
            raise ValueError(f"hidden layers need at least one unit, got {self.hidden}")


@dataclass(frozen=True)
class Rows:
    """Training and test rows, on the CPU.

    Attributes:
        train_features: ``(train_rows, n_features)`` float32, raw.
        train_labels: ``(train_rows,)`` int64, positions in the schema's classes.
        test_features: ``(test_rows, n_features)`` float32, raw.
        test_labels: ``(test_rows,)`` int64.
    """

    train_features: torch.Tensor
    train_labels: torch.Tensor
    test_features: torch.Tensor
    test_labels: torch.Tensor

    def by_name(self) -> dict[str, torch.Tensor]:
        """The four tensors in a fixed order."""
        return dict(vars(self))

    def first(self, limit: int) -> Rows:
        """The first rows of each part, copied."""
        return Rows(**{name: part[:limit].clone() for name, part in self.by_name().items()})


@dataclass(frozen=True)
class Run:
    """A trained model with what is known of it.

    Attributes:
        record: as stored in ``run.json``.
        model: on the CPU, in evaluation mode.
        rows: the stored rows.
    """

    record: RunRecord
    model: SimpleNet
    rows: Rows


def save_run(folder: Path, run: Run) -> Run:
    """Write a run's files into an existing folder, the record last.

    Args:
        folder: to write into; use ``runtime.io.atomic_folder`` with ``marker=RECORD``.
        run: its rows may be more than are stored; its record's ``files`` are not looked at.

    Returns:
        The run as ``load_run`` will read it: rows cut, ``files`` filled in.
    """
    rows = run.rows.first(MAX_STORED_ROWS)
    contents = {
        WEIGHTS: save(
            {name: weight.contiguous() for name, weight in run.model.state_dict().items()}
        ),
        ROWS: save(rows.by_name()),
    }
    files = {name: digest(content) for name, content in contents.items()}
    record = msgspec.structs.replace(run.record, files=files)
    for name, content in (*contents.items(), (RECORD, to_json(record))):
        (folder / name).write_bytes(content)
    return Run(record, run.model, rows)


def load_run(path: Path) -> Run:
    """Read a run, every byte of it checked.

    Args:
        path: the run folder.

    Returns:
        The run; its model draws nothing from torch's random state.

    Raises:
        ArtifactError: when a file is missing, altered, of another format, or does not hold
            what the record says; the message names the file.
    """
    content = read_file(path / RECORD, limit=_MAX_RECORD_SIZE)
    record = parse_record(content, RunRecord, known_format=FORMAT, where=str(path / RECORD))
    if unknown := sorted(record.files.keys() ^ {WEIGHTS, ROWS}):
        raise damaged(path / RECORD, f"files missing from its list or foreign: {unknown}")
    weights = read_tensors(path / WEIGHTS, record.files[WEIGHTS])
    rows = read_tensors(path / ROWS, record.files[ROWS])
    return Run(
        record,
        _build_model(record, weights, where=path / WEIGHTS),
        _build_rows(record.schema, rows, where=path / ROWS),
    )


def _build_model(record: RunRecord, weights: dict[str, torch.Tensor], *, where: Path) -> SimpleNet:
    schema, gaps = record.schema, record.schema.imputed_inputs
    widths = (schema.n_inputs + len(gaps), *record.hidden, schema.n_classes)
    shapes: Shapes = {}
    for position, (fan_in, fan_out) in enumerate(pairwise(widths)):
        shapes[f"layers.{2 * position}.weight"] = (fan_out, fan_in)
        shapes[f"layers.{2 * position}.bias"] = (fan_out,)
    dtypes = dict.fromkeys(shapes, torch.float32)
    if gaps:
        shapes[FILLS], dtypes[FILLS] = (schema.n_inputs,), torch.float32
    check_tensors(weights, shapes, dtypes, where)
    with torch.device("meta"):  # no memory and no random draws for weights that are replaced
        model = SimpleNet(widths[0], widths[-1], record.hidden)
    if gaps:
        model = fill_first(model, Imputation(weights[FILLS], gaps))
    model.load_state_dict(weights, assign=True)
    return model.eval()


def _build_rows(schema: Schema, tensors: dict[str, torch.Tensor], *, where: Path) -> Rows:
    shapes: Shapes = {}
    for part in ("train", "test"):
        labels = tensors.get(f"{part}_labels")
        rows = len(labels) if labels is not None and labels.dim() else 0
        shapes[f"{part}_features"] = (rows, schema.n_inputs)
        shapes[f"{part}_labels"] = (rows,)
    dtypes = {name: torch.int64 if "labels" in name else torch.float32 for name in shapes}
    check_tensors(tensors, shapes, dtypes, where)
    rows_read = Rows(**tensors)
    for labels in (rows_read.train_labels, rows_read.test_labels):
        if ((labels < 0) | (labels >= schema.n_classes)).any():
            raise damaged(where, f"it has labels outside 0..{schema.n_classes - 1}")
    return rows_read
