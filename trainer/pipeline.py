"""Train from a configuration and write the run directory atomically.

Training runs in a work folder next to the run directory, with a checkpoint every few seconds; a
previous run stays in place until the new one is complete.
"""

from __future__ import annotations

import os
import platform
import shutil
import time
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
from msgspec import UNSET

from runtime.bundle.manifest import to_json
from runtime.errors import UsageError
from runtime.io.folders import atomic_folder, check_folder
from runtime.io.paths import resolve
from runtime.io.temporary import locked_workdir, remove_workdir, workdir_path
from runtime.surfaces import option
from trainer.checkpoint.format import FitIdentity, read_record
from trainer.checkpoint.manager import ReplicaCallback, deferred_signals
from trainer.checkpoint.resume import check_start, describe_differences
from trainer.checkpoint.state import Epoch, EpochCallback, FitResult, ignore_epoch
from trainer.checkpoint.trials import trials_destination
from trainer.data.preprocessing import preprocess_dataset
from trainer.data.products import synthetic_products
from trainer.device import Device, Workload, select_device
from trainer.distributed.launch import current_group, on_main_process, process_options
from trainer.evaluation.metrics import evaluate_test_rows
from trainer.fit import fit
from trainer.loggers.collection import METRICS, TENSORBOARD
from trainer.run import FORMAT, RECORD, Run, RunRecord, load_run, save_run
from trainer.session import SaveOptions, TrainingSession

if TYPE_CHECKING:
    from trainer.config import Configuration, DeviceChoice
    from trainer.data.dataset import Dataset
    from trainer.evaluation.metrics import Evaluation


EVALUATION = "metrics.json"
_PACKAGES = ("onnxferry", "torch", "numpy")


@dataclass(frozen=True)
class Outcome:
    """A completed run.

    Attributes:
        run: as stored.
        evaluation: of its model on the test rows.
        device: the training device.
        seconds: wall-clock time of data, training and writing.
        last: the epoch that the model is from; None if the run was complete before.
    """

    run: Run
    evaluation: Evaluation
    device: Device
    seconds: float
    last: Epoch | None = None


def make_run(
    out: Path,
    configuration: Configuration,
    dataset: Dataset | None = None,
    *,
    device: DeviceChoice = "auto",
    saving: SaveOptions | None = None,
    on_epoch_end: EpochCallback = ignore_epoch,
) -> Outcome:
    """Train SimpleNet and write a run directory.

    Args:
        out: the run directory; an existing run is replaced.
        configuration: the options.
        dataset: the training data; None draws synthetic products.
        device: the training device.
        saving: what is written during training; None is the default.
        on_epoch_end: called after every epoch.

    Returns:
        The run and its evaluation.

    Raises:
        UsageError: when ``out`` or the logdir cannot be written, or an interrupted run is there
            and ``saving`` says neither to resume nor to restart.
        DataError: when training diverges or the disk is full.
        ArtifactError: when the checkpoint to resume is damaged, or of another run.
        UnavailableError: when CUDA was requested and is not available.
        TrainingStopped: when a signal stopped training.
    """
    start = time.perf_counter()
    saving = saving or SaveOptions()
    dataset = dataset or synthetic_products(configuration.seed)
    plan = _plan_run(out, dataset, configuration, device, saving)
    identity, selected, last = plan.identity, plan.device, None
    if plan.is_completed:
        run = load_run(out)
        evaluation = evaluate_test_rows(run.model, dataset)
    else:
        preprocessed = preprocess_dataset(dataset, configuration)
        with locked_workdir(out) as work:
            with atomic_folder(out, marker=RECORD) as folder:
                session = TrainingSession(
                    work, preprocessed.dataset, configuration, selected.name, saving
                )
                identity, result = session.run(identity, on_epoch_end)
                last = result.last
                _copy_logs(work, folder)
                model = preprocessed.restore_inputs(result.model)
                evaluation = evaluate_test_rows(model, dataset)
                (folder / EVALUATION).write_bytes(to_json(evaluation))
                for name, content in saving.files.items():
                    (folder / name).write_bytes(content)
                record = _build_record(identity, dataset, result)
                run = save_run(folder, Run(record, model, dataset.rows))
                selected = selected.with_note(result.streaming)
            remove_workdir(work)
    seconds = dataset.seconds + time.perf_counter() - start
    return Outcome(run, evaluation, selected, seconds, last)


def join_run(
    out: Path,
    configuration: Configuration,
    dataset: Dataset | None,
    *,
    device: DeviceChoice,
    saving: SaveOptions,
) -> None:
    """Run the steps of rank 0's ``make_run`` in another process; nothing is written."""
    dataset = dataset or synthetic_products(configuration.seed)
    plan = _plan_run(out, dataset, configuration, device, saving)
    if plan.is_completed:
        return
    with deferred_signals() as stop:
        fit(
            preprocess_dataset(dataset, configuration).dataset,
            configuration,
            device=plan.device.name,
            callback=ReplicaCallback(stop),
        )


@dataclass(frozen=True)
class _RunPlan:
    """What all processes of a run agree on before the first step."""

    device: Device
    identity: FitIdentity
    is_completed: bool


def _plan_run(
    out: Path,
    dataset: Dataset,
    configuration: Configuration,
    device: DeviceChoice,
    saving: SaveOptions,
) -> _RunPlan:
    """Select the device and identify the run; only rank 0 reads the disk."""
    on_main_process(lambda: check_start(out, resume=saving.resume, restart=saving.restart))
    on_main_process(lambda: check_outputs(out, saving.logdir))
    is_resumed_auto = saving.resume and device == "auto"
    resumed = on_main_process(lambda: _device_of_checkpoint(out)) if is_resumed_auto else None
    selected = resumed or select_device(device, _workload(dataset, configuration))
    identity = identify(dataset, configuration, selected)
    if group := current_group():
        from trainer.distributed.group import check_same_fit, claim_device

        if selected.name == "cuda":
            claim_device(group.process)
        names = {"hidden": identity.hidden, "seed": identity.seed}
        check_same_fit(group, identity.data_digest, names | identity.options | identity.versions)
    is_completed = saving.resume and on_main_process(lambda: _is_completed(out, identity))
    return _RunPlan(selected, identity, is_completed)


def check_outputs(out: Path, logdir: Path | None) -> None:
    """Refuse a run directory or logdir that cannot be written; best before hours of work.

    Args:
        out: the run directory.
        logdir: of event files; None is inside the run.

    Raises:
        UsageError: when ``out`` is no folder of a run, the logdir cannot be made, or it is inside
            the run directory or a work folder, which go as a whole.
    """
    check_folder(out, marker=RECORD)
    if logdir is None:
        return
    given = Path(os.path.realpath(logdir))
    works = [workdir_path(each) for each in (out, trials_destination(out))]
    for folder in (resolve(out), *works):
        if given.is_relative_to(folder):
            what = "work folder" if folder in works else "run directory"
            raise UsageError(
                f"{option('logdir', str(logdir))} is inside the {what} {folder}, which is "
                f"{'removed at the end' if folder in works else 'replaced as a whole'}; "
                f"without {option('logdir')} the event files go to {out / TENSORBOARD}"
            )
    nearest = next(path for path in (given, *given.parents) if os.path.lexists(path))
    if not nearest.is_dir():
        raise UsageError(f"cannot write {logdir}: {nearest} is no folder")
    if not os.access(nearest, os.W_OK | os.X_OK):
        raise UsageError(f"cannot write {logdir}: {nearest} is write-protected")


def identify(dataset: Dataset, configuration: Configuration, device: Device) -> FitIdentity:
    """Build the identity of a run: the same on every machine and in every folder."""
    return FitIdentity(
        hidden=configuration.hidden,
        seed=configuration.seed,
        options={**configuration.to_record(device.name), **dataset.options, **process_options()},
        data_digest=dataset.digest(),
        versions={
            **{name: metadata.version(name) for name in _PACKAGES},
            "python": platform.python_version(),
        },
    )


def _workload(dataset: Dataset, configuration: Configuration) -> Workload:
    rows = len(dataset.rows.train_labels)
    return Workload(configuration.batch_size, rows, configuration.epochs)


def _device_of_checkpoint(out: Path) -> Device | None:
    """Find the device of the run to resume: on another it would be another run."""
    record = read_record(workdir_path(out))
    if record is None:
        return None
    if record.fit.options.get("device") == "cuda":
        return select_device("cuda", Workload(0, 0, 0))
    return Device("cpu", "as before the interruption")


def _is_completed(out: Path, identity: FitIdentity) -> bool:
    """Check whether there is a completed run with this identity; refuse to replace another."""
    if read_record(workdir_path(out)) or not (out / RECORD).exists():
        return False
    record = load_run(out).record
    found = FitIdentity(
        record.member_hidden,
        record.seed,
        record.configuration,
        record.data_digest,
        record.versions,
    )
    if found == identity:
        return True
    if "changed" in found.options:  # when it was resumed with other options, as is requested again
        options = {name: each for name, each in found.options.items() if name != "changed"}
        if msgspec.structs.replace(found, options=options) == identity:
            return True
    raise UsageError(
        f"{out} is a complete run, with {describe_differences(found, identity)}: there is nothing "
        f"to resume; {option('restart', True)} replaces it, or give another {option('out')}"
    )


def _copy_logs(work: Path, folder: Path) -> None:
    """Copy, not move: until the run is in place its checkpoint can be resumed."""
    shutil.copy(work / METRICS, folder)
    if (work / TENSORBOARD).exists():
        shutil.copytree(work / TENSORBOARD, folder / TENSORBOARD)


def _build_record(identity: FitIdentity, dataset: Dataset, result: FitResult) -> RunRecord:
    last = result.last
    metrics = {
        "accuracy": last.accuracy,
        "loss": last.loss,
        "test_loss": last.test_loss,
        "train_rows": float(len(dataset.rows.train_labels)),
        "test_rows": float(len(dataset.rows.test_labels)),
        "epochs": float(result.epochs),
    }
    if last.validation:
        metrics["best_epoch"] = float(last.index + 1)
        metrics["validation_loss"] = last.validation.loss
        metrics["validation_accuracy"] = last.validation.accuracy
        if identity.options["calibrate"]:
            metrics["temperature"] = last.validation.temperature
    return RunRecord(
        format=FORMAT,
        model="simplenet",
        hidden=tuple(layer.out_features for layer in result.model.linear_layers()[:-1]),
        schema=dataset.schema,
        configuration=identity.options,
        seed=identity.seed,
        data_digest=identity.data_digest,
        metrics=metrics,
        versions=identity.versions,
        files={},
        check=dataset.check or UNSET,
    )
