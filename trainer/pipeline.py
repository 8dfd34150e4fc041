"""Train from a configuration and write the run directory atomically.

Training runs in a work folder next to the run directory, with a checkpoint every few seconds; a
previous run stays in place until the new one is complete.
"""

from __future__ import annotations

import shutil
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from msgspec import UNSET

from runtime.bundle.manifest import to_json
from runtime.io.folders import atomic_folder
from runtime.io.temporary import locked_workdir, remove_workdir
from trainer.checkpoint.manager import ReplicaCallback, deferred_signals
from trainer.checkpoint.state import Epoch, EpochCallback, FitResult, ignore_epoch
from trainer.data.preprocessing import preprocess_dataset
from trainer.data.products import synthetic_products
from trainer.evaluation.metrics import evaluate_test_rows
from trainer.fit import fit
from trainer.loggers.collection import METRICS, TENSORBOARD
from trainer.run import FORMAT, RECORD, Run, RunRecord, load_run, save_run
from trainer.run_plan import plan_run
from trainer.session import SaveOptions, TrainingSession

if TYPE_CHECKING:
    from pathlib import Path

    from trainer.checkpoint.format import FitIdentity
    from trainer.config import Configuration, DeviceChoice
    from trainer.data.dataset import Dataset
    from trainer.device import Device
    from trainer.evaluation.metrics import Evaluation

EVALUATION = "metrics.json"


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
    plan = plan_run(out, dataset, configuration, device, saving)
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
    plan = plan_run(out, dataset, configuration, device, saving)
    if plan.is_completed:
        return
    with deferred_signals() as stop:
        fit(
            preprocess_dataset(dataset, configuration).dataset,
            configuration,
            device=plan.device.name,
            callback=ReplicaCallback(stop),
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
