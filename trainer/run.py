"""The run directory, format 1: the output of ``trainer fit`` and the input of the exporter.

    run.json             the RunRecord; marks the directory as a run
    weights.safetensors  the model's parameters, under the names of its state dict
    rows.safetensors     the first training and test rows, at most MAX_STORED_ROWS of each
    metrics.json         the Evaluation on the test rows (not listed in the record)
    metrics.jsonl        one object per epoch (likewise)
    tuning.json          the trials of a search, of a tuned run (likewise)
    tensorboard/         event files (not listed in the record: they contain timestamps)

The first three are reproducible byte for byte. Reading checks every hash and never unpickles.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Final, Literal

import msgspec
import torch
from safetensors import SafetensorError
from safetensors.torch import load, save

from runtime.bundle.manifest import File, Scalar, parse_record, to_json
from runtime.bundle.reading import digest, read_regular_file
from runtime.cards import html_card
from runtime.errors import ArtifactError
from runtime.printable import list_first, printable
from runtime.schema.features import Schema
from runtime.value import Record
from trainer.data.dataset import DataCheck, Rows
from trainer.model import FILLS, Imputation, SimpleNet, prepend_stages
from trainer.piecewise import LOWS, POSITIONS, SCALES, PiecewiseLinearEncoding

if TYPE_CHECKING:
    from pathlib import Path

    from runtime.io.paths import Location


FORMAT: Final = 1
RECORD = "run.json"
WEIGHTS = "weights.safetensors"
ROWS = "rows.safetensors"
MAX_STORED_ROWS = 10_000
ADVICE = "make the run with `trainer fit`"
_MAX_NAMES = 5  # of features in a description
_MAX_RECORD_SIZE = 16 * 2**20  # bytes; a record of thousands of columns stays far below


Shapes = dict[str, tuple[int, ...]]


class RunRecord(Record, frozen=True):
    """The content of ``run.json``.

    Attributes:
        format: version of the run format.
        model: the kind of network.
        hidden: widths of its hidden layers; of an ensemble those of all members together.
        schema: the columns and classes it was trained on.
        configuration: every option of the fit, resolved; no paths.
        seed: of the data, the initial weights and the shuffling.
        data_digest: SHA-256 of all training and test tensors, stored here or not.
        metrics: by name; ``accuracy``, ``loss``, ``test_loss``, ``train_rows``, ``test_rows``,
            ``epochs``; with a validation split also ``best_epoch``, ``validation_loss`` and
            ``validation_accuracy``, and ``temperature`` if it was calibrated.
        versions: of the packages used in training.
        files: the other files of the run, by name relative to it.
        check: data check of a user's table; unset for synthetic data.
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

    @property
    def member_hidden(self) -> tuple[int, ...]:
        """Widths of the hidden layers of each member, as the option has them."""
        members = self.configuration.get("members")
        if not isinstance(members, int) or members < 1:
            return self.hidden
        return tuple(width // members for width in self.hidden)


@dataclass(frozen=True)
class Run:
    """A trained model with its record and rows.

    Attributes:
        record: as stored in ``run.json``.
        model: on the CPU, in evaluation mode.
        rows: the stored rows.
        path: its folder; None before it is in place.
    """

    record: RunRecord
    model: SimpleNet
    rows: Rows
    path: Location | None = None

    @property
    def check(self) -> DataCheck | None:
        """What the table contains, and its likely problems; None for synthetic data."""
        return None if self.record.check is msgspec.UNSET else self.record.check

    def __repr__(self) -> str:
        schema, metrics = self.record.schema, self.record.metrics
        found = f"{list_first(schema.feature_names, _MAX_NAMES)} → {schema.target}"
        where = f"; {self.path}" if self.path else ""
        accuracy = f"accuracy {metrics['accuracy']:.1%} on {metrics['test_rows']:,.0f} test rows"
        return f"Run({printable(f'{self.record.model}: {found}; {accuracy}{where}')})"

    def _repr_html_(self) -> str:
        schema, metrics = self.record.schema, self.record.metrics
        rows = f"{metrics['train_rows']:,.0f} for training, {metrics['test_rows']:,.0f} for test"
        hidden = "-".join(map(str, self.record.hidden)) or "none"
        lines = [
            ("folder", str(self.path)),
            ("predicts", f"{schema.target}: {list_first(schema.classes)}"),
            ("from", list_first(schema.feature_names)),
            ("rows", rows),
            ("network", f"hidden layers {hidden}, {metrics['epochs']:.0f} epochs"),
            ("test accuracy", f"{metrics['accuracy']:.1%}"),
            ("test loss", f"{metrics['test_loss']:.4f}"),
        ]
        return html_card(f"Run {self.record.model}", lines)


def save_run(folder: Path, run: Run) -> Run:
    """Write a run's files into an existing folder, the record last.

    Returns the run as ``load_run`` will read it: rows truncated, the record's ``files`` set.
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


def load_run(path: Location) -> Run:
    """Load a run and check every hash.

    Args:
        path: the run directory, local or in an object store.

    Returns:
        The run; torch's random state is not used.

    Raises:
        ArtifactError: when a file is missing, altered, of another format, or contradicts the
            record; the message names the file.
    """
    content = read_regular_file(path / RECORD, limit=_MAX_RECORD_SIZE, advice=ADVICE)
    record = parse_record(content, RunRecord, known_format=FORMAT, where=str(path / RECORD))
    if unknown := sorted(record.files.keys() ^ {WEIGHTS, ROWS}):
        raise damaged(path / RECORD, f"its list of files has missing or unknown names: {unknown}")
    weights = read_tensors(path / WEIGHTS, record.files[WEIGHTS])
    rows = read_tensors(path / ROWS, record.files[ROWS])
    return Run(
        record,
        _build_model(record, weights, where=path / WEIGHTS),
        _build_rows(record.schema, rows, where=path / ROWS),
        path,
    )


def _build_model(
    record: RunRecord, weights: dict[str, torch.Tensor], *, where: Location
) -> SimpleNet:
    schema, gaps = record.schema, record.schema.imputed_inputs
    n_inputs = schema.n_inputs + len(gaps)
    bins = _count_bins(record, weights)
    widths = (n_inputs + bins, *record.hidden, schema.n_classes)
    shapes: Shapes = {}
    for position, (fan_in, fan_out) in enumerate(pairwise(widths)):
        shapes[f"layers.{2 * position}.weight"] = (fan_out, fan_in)
        shapes[f"layers.{2 * position}.bias"] = (fan_out,)
    dtypes = dict.fromkeys(shapes, torch.float32)
    if gaps:
        shapes[FILLS], dtypes[FILLS] = (schema.n_inputs,), torch.float32
    if bins:
        shapes |= {POSITIONS: (bins,), LOWS: (bins, 1), SCALES: (bins, 1)}
        dtypes |= {POSITIONS: torch.int64, LOWS: torch.float32, SCALES: torch.float32}
    check_tensors(weights, shapes, dtypes, where)
    with torch.device("meta"):  # no memory and no random draws for weights that are replaced
        model = SimpleNet(widths[0], widths[-1], record.hidden)
    encoding = None
    if bins:
        positions = weights[POSITIONS]
        if not 0 <= int(positions.min()) <= int(positions.max()) < schema.n_inputs:
            raise damaged(where, f"{POSITIONS} has others than the inputs 0..{schema.n_inputs - 1}")
        encoding = PiecewiseLinearEncoding(positions, weights[LOWS], weights[SCALES])
    imputation = Imputation(weights[FILLS], gaps) if gaps else None
    model = prepend_stages(model, imputation, encoding)
    model.load_state_dict(weights, assign=True)
    return model.eval()


def _count_bins(record: RunRecord, weights: dict[str, torch.Tensor]) -> int:
    """Return how many encoded inputs the weights have; 0 where the run was trained without.

    Numbers far from 0 are encoded where inputs are standardised.
    """
    options = record.configuration
    may_have = options.get("bins") or options.get("standardise")
    return weights[POSITIONS].numel() if may_have and POSITIONS in weights else 0


def _build_rows(schema: Schema, tensors: dict[str, torch.Tensor], *, where: Location) -> Rows:
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


def read_tensors(path: Location, expected: File) -> dict[str, torch.Tensor]:
    """Read a safetensors file with the expected size and digest onto the CPU."""
    content = read_regular_file(path, limit=expected.size, advice=ADVICE)
    if digest(content) != expected:
        raise damaged(path, "its size or SHA-256 differs from the record's")
    try:
        return load(content)
    except (SafetensorError, KeyError, ValueError) as exc:  # KeyError: a dtype torch lacks
        raise damaged(path, f"not readable as safetensors ({exc})") from exc


def check_tensors(
    found: dict[str, torch.Tensor],
    shapes: Shapes,
    dtypes: dict[str, torch.dtype],
    where: Location,
) -> None:
    """Check tensors against the expected names, shapes and dtypes; report all differences."""
    wrong = [f"{name} is unexpected" for name in sorted(found.keys() - shapes.keys())]
    wrong += [f"{name} is missing" for name in sorted(shapes.keys() - found.keys())]
    for name in sorted(found.keys() & shapes.keys()):
        got = (tuple(found[name].shape), found[name].dtype)
        if got != (shapes[name], dtypes[name]):
            wrong.append(
                f"{name} is {got[1]} {got[0]}, the record expects {dtypes[name]} {shapes[name]}"
            )
    if wrong:
        raise damaged(where, list_first(wrong, separator="; "))


def damaged(path: Location, reason: str) -> ArtifactError:
    """Make the error for a damaged file."""
    return ArtifactError(f"{path} is damaged: {reason}; run `trainer fit` again")
