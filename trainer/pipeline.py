"""From a configuration to a run folder: data, fit, event files and record, all or nothing.

In: a configuration and where to write. Out: a run folder that appears when everything is in
it. Until then the fit lives in a folder beside it, with a checkpoint every few seconds, where a
fit that was cut off is taken up. Raises what ``choose_device``, ``fit`` and ``atomic_folder``
raise; an older run at the destination then stays as it was.
"""

from __future__ import annotations

import platform
import shutil
import time
from dataclasses import dataclass
from importlib import metadata
from typing import TYPE_CHECKING

from msgspec import UNSET

from runtime.bundle.manifest import to_json
from runtime.errors import UsageError
from runtime.io.folders import atomic_folder
from runtime.io.workdir import locked_workdir, remove_workdir, workdir_path
from trainer.attempt import Attempt, Saving
from trainer.checkpoint import Fit, read_record
from trainer.crossing import Device, Work
from trainer.data import Dataset, synthetic_products
from trainer.device import choose_device
from trainer.epoch import Watch, look_away
from trainer.gaps import fill_gaps
from trainer.journals import METRICS, TENSORBOARD
from trainer.judging import evaluate_rows
from trainer.ranks.team import count_processes
from trainer.run import FORMAT, RECORD, Run, RunRecord, load_run, save_run

if TYPE_CHECKING:
    from pathlib import Path

    from trainer.config import Configuration, DeviceChoice
    from trainer.fit import Fitted
    from trainer.metrics import Evaluation

EVALUATION = "metrics.json"
_PACKAGES = ("onnxferry", "torch", "numpy")


@dataclass(frozen=True)
class Outcome:
    """A run that was made.

    Attributes:
        run: as stored.
        evaluation: of its model on the test rows.
        device: where it ran.
        seconds: wall-clock time of data, fit and writing.
    """

    run: Run
    evaluation: Evaluation
    device: Device
    seconds: float


def make_run(
    out: Path,
    configuration: Configuration,
    dataset: Dataset | None = None,
    *,
    device: DeviceChoice = "auto",
    saving: Saving | None = None,
    watch: Watch = look_away,
) -> Outcome:
    """Fit SimpleNet and leave a run folder.

    Args:
        out: the run folder; an older run there is replaced.
        configuration: the options.
        dataset: what to fit; None draws synthetic products.
        device: where to fit.
        saving: what is written on the way; None is the default.
        watch: called after every epoch.

    Returns:
        The run and how it went.

    Raises:
        UsageError: when ``out`` or the logdir cannot be written.
        DataError: when the fit diverges or the disk is full.
        ArtifactError: when what is taken up is damaged, or another fit.
        UnavailableError: when CUDA was asked for and is not there.
        Stopped: when the fit was asked to end before it was done.
    """
    start = time.perf_counter()
    saving = saving or Saving()
    _check_apart(out, saving.logdir)
    dataset = dataset or synthetic_products(configuration.seed)
    begun = _begun_on(out) if saving.resume and device == "auto" else None
    chosen = begun or choose_device(device, _measure(dataset, configuration))
    filled = fill_gaps(dataset)
    this = _identify(dataset, configuration, chosen)
    run = _find_finished(out, this) if saving.resume else None
    if run is not None:
        evaluation = evaluate_rows(run.model, dataset)
    else:
        with locked_workdir(out) as work:
            with atomic_folder(out, marker=RECORD) as folder:
                attempt = Attempt(work, filled.dataset, configuration, chosen.name, saving)
                this, fitted = attempt.make(this, watch)
                _copy_journals(work, folder)
                model = filled.finish(fitted.model)
                evaluation = evaluate_rows(model, dataset)
                (folder / EVALUATION).write_bytes(to_json(evaluation))
                record = _describe(this, dataset, fitted)
                run = save_run(folder, Run(record, model, dataset.rows))
                chosen = chosen.adding(fitted.streaming)
            remove_workdir(work)
    return Outcome(run, evaluation, chosen, dataset.seconds + time.perf_counter() - start)


def _check_apart(out: Path, logdir: Path | None) -> None:
    """Refuse a logdir in the run folder: the new run takes the whole folder's place."""
    if logdir is not None and logdir.resolve().is_relative_to(out.resolve()):
        raise UsageError(
            f"--logdir {logdir} lies in the run folder {out}, which is replaced as a whole; "
            f"leave --logdir away and TensorBoard's files go to {out / TENSORBOARD}"
        )


def _identify(dataset: Dataset, configuration: Configuration, device: Device) -> Fit:
    """Say which fit this is; nothing that differs between machines, folders or days."""
    return Fit(
        hidden=configuration.hidden,
        seed=configuration.seed,
        options={**configuration.to_record(device.name), **dataset.options, **count_processes()},
        data_digest=dataset.digest(),
        versions={
            **{name: metadata.version(name) for name in _PACKAGES},
            "python": platform.python_version(),
        },
    )


def _measure(dataset: Dataset, configuration: Configuration) -> Work:
    rows = len(dataset.rows.train_labels)
    return Work(configuration.batch_size, rows, configuration.epochs)


def _begun_on(out: Path) -> Device | None:
    """Find the device of the fit that is taken up: on another it would be another fit."""
    record = read_record(workdir_path(out))
    if record is None:
        return None
    if record.fit.options.get("device") == "cuda":
        return choose_device("cuda", Work(0, 0, 0))
    return Device("cpu", "where it began")


def _find_finished(out: Path, this: Fit) -> Run | None:
    """Load the run of this very fit, if it has come to its end."""
    if read_record(workdir_path(out)) or not (out / RECORD).exists():
        return None
    run = load_run(out)
    record = run.record
    found = Fit(
        record.hidden, record.seed, record.configuration, record.data_digest, record.versions
    )
    return run if found == this else None


def _copy_journals(work: Path, folder: Path) -> None:
    """Copy, not move: until the run is in its place the fit can be taken up again."""
    shutil.copy(work / METRICS, folder)
    if (work / TENSORBOARD).exists():
        shutil.copytree(work / TENSORBOARD, folder / TENSORBOARD)


def _describe(this: Fit, dataset: Dataset, fitted: Fitted) -> RunRecord:
    """Write down what was done."""
    last = fitted.last
    metrics = {
        "accuracy": last.accuracy,
        "loss": last.loss,
        "test_loss": last.test_loss,
        "train_rows": float(len(dataset.rows.train_labels)),
        "test_rows": float(len(dataset.rows.test_labels)),
        "epochs": float(fitted.epochs),
    }
    if last.validation:
        metrics["best_epoch"] = float(last.index + 1)
        metrics["validation_loss"] = last.validation.loss
        metrics["validation_accuracy"] = last.validation.accuracy
    return RunRecord(
        format=FORMAT,
        model="simplenet",
        hidden=this.hidden,
        schema=dataset.schema,
        configuration=this.options,
        seed=this.seed,
        data_digest=this.data_digest,
        metrics=metrics,
        versions=this.versions,
        files={},
        check=dataset.check or UNSET,
    )
