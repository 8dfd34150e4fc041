"""Train on a table in memory or a file, from Python: what ``trainer fit`` does."""

from __future__ import annotations

import os
import re
import sys
import time
from collections.abc import Mapping
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

from runtime.errors import UsageError
from runtime.io.paths import parse_local_path, parse_location
from runtime.io.sinks import open_sinks
from runtime.io.temporary import workdir_path
from runtime.notebook import is_notebook, notebook_bar
from runtime.scoring.frames import to_arrow
from runtime.scoring.named_columns import TABLES, column_names, split_rows
from runtime.tables.memory import MemoryTable
from runtime.tables.options import ReadOptions
from runtime.terminal.process import log
from trainer.checkpoint.manager import TrainingStopped
from trainer.checkpoint.resume import has_checkpoint, resume_options
from trainer.checkpoint.state import ignore_epoch
from trainer.checkpoint.trials import read_search, remove_search, trials_destination
from trainer.config import CHECKPOINT_EVERY_S
from trainer.data.cell_options import parse_date_formats, parse_missing
from trainer.data.reading import read_dataset
from trainer.data.report import format_rejected, format_report
from trainer.data.source import MAX_CATEGORIES, TableSource, choose_rejects_path
from trainer.keywords import check_keywords, to_plain
from trainer.loggers.progress import Throughput, format_throughput, show_progress
from trainer.pipeline import make_run
from trainer.recipe import configure_before_reading
from trainer.run import RECORD, load_run
from trainer.run_plan import check_outputs
from trainer.session import SaveOptions
from trainer.tuning.budget import parse_budget
from trainer.tuning.progress import show_trials
from trainer.tuning.report import describe_result, format_options, format_search
from trainer.tuning.search import TuningRequest
from trainer.tuning.tuned import check_tuning, plan_tuned, plan_untuned

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from runtime.choices import Decimal
    from runtime.io.paths import Location
    from runtime.schema.features import Unseen
    from trainer.checkpoint.state import Epoch, EpochCallback
    from trainer.config import ClassWeights, Configuration, DeviceChoice, Optimiser, Options, Preset
    from trainer.data.dataset import Dataset
    from trainer.data.source import BadRowsPolicy
    from trainer.run import Run
    from trainer.tuning.tuned import FitPlan

_FOLDER = Path("artifacts")
_MAX_CHARACTERS = 40  # of a label in the name of a folder


def fit_table(  # noqa: PLR0913 - the options of ``trainer fit``, by their names
    data: object,
    label: str,
    *,
    features: Sequence[str] | None = None,
    exclude: Sequence[str] | None = None,
    categories: Sequence[str] | None = None,
    fold_categories: bool = False,
    missing: Sequence[str] | None = None,
    date_format: str | Sequence[str] | Mapping[str, str] | None = None,
    unseen: Unseen | None = None,
    rare: Unseen = "error",
    max_categories: int | None = None,
    bad_rows: BadRowsPolicy = "fail",
    rejects: Location | str | None = None,
    test: object = None,
    test_fraction: float | None = None,
    format: str | None = None,  # noqa: A002 - as on the command line
    delimiter: str | None = None,
    encoding: str | None = None,
    decimal: Decimal = ".",
    out: Path | str | None = None,
    replace: bool = False,
    force: bool = False,
    preset: Preset | None = None,
    device: DeviceChoice = "auto",
    seed: int | None = None,
    hidden: int | Sequence[int] | None = None,
    bins: int | None = None,
    epochs: int | None = None,
    batch_size: int | None = None,
    learning_rate: float | None = None,
    schedule: str | None = None,
    optimiser: Optimiser | None = None,
    weight_decay: float | None = None,
    class_weights: ClassWeights | None = None,
    members: int | None = None,
    folds: int | None = None,
    validation: float | None = None,
    calibrate: bool | None = None,
    patience: int | None = None,
    tune: int | str | None = None,
    logdir: Path | str | None = None,
    resume: bool = False,
    checkpoint_every: float = CHECKPOINT_EVERY_S,
    verbose: bool | None = None,
) -> Run:
    """Train SimpleNet on a table, and write a run; the bits are those of ``trainer fit``.

    Args:
        data: a table of pandas, polars or pyarrow, a dict of columns, a structured array, a list
            of dicts; or the path of a file, a folder or a glob pattern.
        label: column to predict.
        features: feature columns; None for all others.
        exclude: columns to exclude; ``#1`` is the first, by its position.
        categories: categorical columns that look like numbers; the label among them: NA and the
            like are classes.
        fold_categories: join categories that differ only in case or surrounding blanks.
        missing: texts that mean a missing cell, beside the empty one; of a number or date, in
            every spelling and type.
        date_format: of dates that are not in ISO 8601: ``dmy``, ``mdy``, ``ymd`` or strftime
            codes, for all columns, or by column, where also ``epoch-s`` and ``epoch-ms``.
        unseen: categories not seen in training are bad cells (``error``) or none of the known
            ones (``other``).
        rare: a column with too many categories is refused (``error``), or keeps the most frequent
            and joins the rest (``other``).
        max_categories: most categories of a column, 2 to 1,024.
        bad_rows: rows that cannot be used: ``fail`` refuses the table, ``reject`` leaves them out.
        rejects: file for the rejected rows; None is ``OUT.rejects.csv``.
        test: the test set, as ``data``; None splits it off.
        test_fraction: share of each class for the test set, above 0 and below 1; None is 0.2.
        format: of files; None is by the name.
        delimiter: of delimited text in files; None detects it.
        encoding: of text in files; None is by the byte order mark, else UTF-8.
        decimal: decimal sign of numbers in text.
        out: the run's folder. None is a new one, ``artifacts/LABEL-1`` and so on.
        replace: allow to replace a run in ``out``, also an interrupted one.
        force: let ``rejects`` replace a file of another kind.
        preset: ``default`` fits an ensemble, ``accurate`` a larger one; ``tutorial`` trains one
            network on raw features with a low learning rate.
        device: ``auto`` uses CUDA where it is available and faster; ``cpu``, ``cuda``.
        seed: same seed, same weights.
        hidden: widths of a member's hidden layers; None is by preset.
        bins: of the piecewise linear encoding of numbers, at most; 0 is no encoding, None by preset
            and size.
        epochs: passes over the training rows; None is by preset and size.
        batch_size: rows per step.
        learning_rate: initial learning rate.
        schedule: of the learning rate, such as ``cosine`` or ``warmup-cosine:0.1``.
        optimiser: ``sgd`` or ``adamw``.
        weight_decay: coefficient of weight decay.
        class_weights: ``balanced`` weights all classes equally in the loss.
        members: networks that are trained side by side and deployed as one, their mean.
        folds: parts of the training rows; each member leaves one out, and the loss on the rows
            left out selects the best epoch; 0 is none.
        validation: share of the training rows held out to select the best epoch.
        calibrate: divide the logits by the temperature with the lowest validation loss, or loss
            on the rows left out.
        patience: epochs without a better validation loss before early stopping.
        tune: search the options that are not given, on the training rows, and fit with the best:
            so many trials (``20``), or so long (``"60s"``, ``"5m"``). ``tuning.json`` in the run
            has the trials.
        logdir: directory of TensorBoard's event files; None is inside the run.
        resume: resume the interrupted run of ``out``.
        checkpoint_every: seconds between checkpoints.
        verbose: show what the table contains, its likely problems and a progress bar; None does
            so in a notebook and on a terminal. ``Run.check`` has the findings, too.

    Returns:
        The run, as read back from its folder.

    Raises:
        UsageError: when an option is invalid, ``out`` holds a run, or cannot be written.
        DataError: when the table cannot be read or used, bad rows prevent training, or training
            diverges.
        ArtifactError: when the checkpoint to resume is damaged, or of another run.
        UnavailableError: when CUDA was requested and is not available.
    """
    check_keywords(locals())
    folder = _choose_folder(label, out, is_replaced=replace, is_resumed=resume)
    source = TableSource(
        _read(data, "data"),
        label,
        features=None if features is None else tuple(features),
        exclude=tuple(exclude or ()),
        categories=tuple(categories or ()),
        date_formats=parse_date_formats(_list_formats(date_format)),
        missing=parse_missing(None if missing is None else tuple(missing)),
        fold_categories=fold_categories,
        unseen=unseen,
        rare=rare,
        max_categories=MAX_CATEGORIES if max_categories is None else to_plain(max_categories),
        test=None if test is None else _read(test, "test"),
        test_fraction=to_plain(test_fraction),
        reading=_read_options(format, delimiter, encoding, decimal),
        bad_rows=bad_rows,
        rejects=choose_rejects_path(
            folder, bad_rows, None if rejects is None else parse_location(rejects)
        ),
        force=force,
    )
    _refuse_format(source)
    overrides: Options = {
        "hidden": _list_widths(hidden),
        "bins": to_plain(bins),
        "learning_rate": to_plain(learning_rate),
        "schedule": schedule,
        "optimiser": optimiser,
        "weight_decay": to_plain(weight_decay),
        "class_weights": class_weights,
        "epochs": to_plain(epochs),
        "batch_size": to_plain(batch_size),
        "members": to_plain(members),
        "folds": to_plain(folds),
        "validation": to_plain(validation),
        "calibrate": to_plain(calibrate),
        "patience": to_plain(patience),
        "seed": to_plain(seed),
    }
    saving = SaveOptions(
        None if logdir is None else parse_local_path(logdir),
        resume,
        checkpoint_every,
        replace,
    )
    is_shown = (is_notebook() or sys.stderr.isatty()) if verbose is None else verbose
    budget = None if tune is None else parse_budget(to_plain(tune))
    request = TuningRequest(budget, preset, overrides, device) if budget else None
    return _fit(folder, source, preset, overrides, device, saving, request, is_shown=is_shown)


def _fit(  # noqa: PLR0913, PLR0917 - parsed options
    out: Path,
    source: TableSource,
    preset: Preset | None,
    overrides: Options,
    device: DeviceChoice,
    saving: SaveOptions,
    tuning: TuningRequest | None,
    *,
    is_shown: bool,
) -> Run:
    """Read the table, search options if asked, train and load the run."""
    check_tuning(out, tuning, resume=saving.resume, restart=saving.restart)
    check_outputs(out, saving.logdir)
    resumed = resume_options(out, preset, overrides) if saving.resume else None
    configuration = resumed or configure_before_reading(preset, overrides, has_table=True)
    if source.rejects and source.rejects.parent == out.parent:
        _create_folder(out.parent)
    with open_sinks() as open_sink:  # rejected rows, which appear with the run
        dataset = read_dataset(source, configuration.seed, open_sink)
        if dataset.check and is_shown:
            rejected = format_rejected(dataset.check.rejected or (), source)
            _print("\n".join(filter(None, (format_report(dataset.check, source), rejected))))
        if tuning:
            plan = _tune(out, tuning, dataset, configuration, saving, is_shown=is_shown)
        else:
            plan = plan_untuned(out, dataset, configuration, overrides, saving)
        with _progress(plan.configuration.epochs, is_shown=is_shown) as report:
            try:
                make_run(
                    out,
                    plan.configuration,
                    dataset,
                    device=device,
                    saving=plan.saving,
                    on_epoch_end=report,
                )
            except TrainingStopped as stop:
                again = f"out={str(out)!r}, resume=True"
                stop.add_note(f"its checkpoint is kept; continue with the same call and {again}")
                raise
    if plan.search:
        remove_search(out)
    return load_run(out)


def _tune(
    out: Path,
    request: TuningRequest,
    dataset: Dataset,
    configuration: Configuration,
    saving: SaveOptions,
    *,
    is_shown: bool,
) -> FitPlan:
    """Search, and show the trials and the options that were found."""
    try:
        with show_trials(request.budget, shown=is_shown) as on_progress:
            plan = plan_tuned(out, request, dataset, configuration, saving, on_progress)
    except KeyboardInterrupt as stop:
        if search := read_search(out):
            again = f"out={str(out)!r}, resume=True"
            stop.add_note(f"{search.kept}; continue with the same call and {again}")
        raise
    if is_shown and (search := plan.search):
        _print(format_search(search, sys.stderr))
        found = format_options(search.winner.options)
        result = describe_result(search, len(dataset.rows.train_labels))
        _print(f"{result}\nthe same run without tuning: {found}")
    return plan


def _choose_folder(
    label: str, out: Path | str | None, *, is_replaced: bool, is_resumed: bool
) -> Path:
    """Choose the folder of the run; one that holds a run is replaced on request only."""
    if out is None:
        if is_resumed:
            raise UsageError("resume=True needs the folder of the interrupted run: give out")
        stem = re.sub(r"[^\w.-]+", "-", label)[:_MAX_CHARACTERS].strip(".-") or "run"
        folders = (_FOLDER / f"{stem}-{number}" for number in count(1))
        return next(path for path in folders if not _is_taken(path))
    folder = parse_local_path(out)
    if not (is_replaced or is_resumed) and _is_taken(folder):
        is_interrupted = has_checkpoint(folder) or read_search(folder) is not None
        kept = "an interrupted run" if is_interrupted else "a run"
        more = ", resume=True to continue it" if is_interrupted else ""
        raise UsageError(
            f"{folder} has {kept} already: give another out{more}, or replace=True to replace it"
        )
    return folder


def _is_taken(folder: Path) -> bool:
    works = (folder, trials_destination(folder))
    return (folder / RECORD).exists() or any(workdir_path(each).exists() for each in works)


def _create_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as exc:
        raise UsageError(f"cannot write {folder}: {exc.strerror}") from exc


def _read(table: object, name: str) -> Location | MemoryTable:
    """Take a path as it is, and convert a table in memory; ``name`` is for messages."""
    if isinstance(table, str | os.PathLike):
        return parse_location(table)
    columns = split_rows(table)
    names = column_names(columns)
    if names is None:
        raise UsageError(f"{name}: a {type(table).__name__} is no table: give a path, {TABLES}")
    return MemoryTable(to_arrow(columns, range(len(names)), names), name)


def _read_options(
    table_format: str | None, delimiter: str | None, encoding: str | None, decimal: Decimal
) -> ReadOptions:
    text: Any = {"format": table_format, "delimiter": delimiter, "encoding": encoding}  # is parsed
    return ReadOptions(**text, decimal=decimal)


def _refuse_format(source: TableSource) -> None:
    tables = (source.data, source.test)
    is_in_memory = all(table is None or isinstance(table, MemoryTable) for table in tables)
    if source.reading.format and is_in_memory:
        raise UsageError("format is for files, and the data is in memory: leave it out")


def _list_widths(hidden: int | Sequence[int] | None) -> tuple[int, ...] | None:
    if hidden is None:
        return None
    widths = to_plain(hidden)
    return (widths,) if isinstance(widths, int) else tuple(map(to_plain, widths))


def _list_formats(formats: str | Sequence[str] | Mapping[str, str] | None) -> Sequence[str]:
    """List formats of dates as the command line has them."""
    if formats is None:
        return ()
    if isinstance(formats, Mapping):
        return [f"{name}={each}" for name, each in formats.items()]
    return (formats,) if isinstance(formats, str) else tuple(formats)


def _print(text: str) -> None:
    """Print below the cell of a notebook, else to stderr."""
    if is_notebook():
        print(text, flush=True)  # noqa: T201 - output of a cell
    else:
        log(text)


@contextmanager
def _progress(epochs: int, *, is_shown: bool) -> Iterator[EpochCallback]:
    """Show a progress bar in a notebook, else what ``trainer fit`` shows."""
    if not is_shown:
        yield ignore_epoch
    elif is_notebook():
        throughput = Throughput(time.monotonic)
        with notebook_bar("fitting, epoch") as show:

            def draw(epoch: Epoch) -> None:
                throughput.on_epoch_end(epoch)
                done = epoch.index + 1
                metrics = f"train loss {epoch.loss:.4f}  test accuracy {epoch.accuracy:.1%}"
                text = f"{metrics}  {format_throughput(throughput, epoch)}"
                show(done, done if epoch.is_last else epoch.epochs, text)

            yield draw
    else:
        with show_progress(epochs) as report:
            yield report
