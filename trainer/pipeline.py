"""From a configuration to a run folder: data, fit, event files and record, all or nothing.

In: a configuration and where to write. Out: a run folder that appears when everything is in
it. Raises what ``choose_device``, ``fit`` and ``atomic_folder`` raise; an older run at the
destination then stays as it was.
"""

from __future__ import annotations

import platform
import time
from dataclasses import dataclass
from importlib import metadata
from typing import TYPE_CHECKING

from msgspec import UNSET

from runtime.errors import UsageError
from runtime.files.folders import atomic_folder
from trainer.data import Dataset, synthetic_products
from trainer.device import Device, choose_device
from trainer.fit import Epoch, Watch, fit, look_away
from trainer.gaps import fill_gaps
from trainer.run import FORMAT, RECORD, Run, RunRecord, save_run
from trainer.tracking import tensorboard

if TYPE_CHECKING:
    from pathlib import Path

    from trainer.config import Configuration, DeviceChoice

TENSORBOARD = "tensorboard"
_PACKAGES = ("onnxferry", "torch", "numpy")


@dataclass(frozen=True)
class Outcome:
    """A run that was made.

    Attributes:
        run: as stored.
        last: the last epoch of the fit.
        device: where it ran.
        seconds: wall-clock time of data, fit and writing.
    """

    run: Run
    last: Epoch
    device: Device
    seconds: float


def make_run(
    out: Path,
    configuration: Configuration,
    dataset: Dataset | None = None,
    *,
    device: DeviceChoice = "auto",
    logdir: Path | None = None,
    watch: Watch = look_away,
) -> Outcome:
    """Fit SimpleNet and leave a run folder.

    Args:
        out: the run folder; an older run there is replaced.
        configuration: the options.
        dataset: what to fit; None draws synthetic products.
        device: where to fit.
        logdir: where TensorBoard's files go; None means into the run.
        watch: called after every epoch.

    Returns:
        The run and how it went.

    Raises:
        UsageError: when ``out`` or ``logdir`` cannot be written.
        DataError: when the fit diverges or the disk is full.
        UnavailableError: when CUDA was asked for and is not there.
    """
    start = time.perf_counter()
    _check_apart(out, logdir)
    chosen = choose_device(device)
    dataset = dataset or synthetic_products(configuration.seed)
    filled = fill_gaps(dataset)
    with atomic_folder(out, marker=RECORD) as folder:
        with tensorboard(logdir or folder / TENSORBOARD) as track:

            def track_and_watch(epoch: Epoch) -> None:
                track(epoch)
                watch(epoch)

            fitted = fit(filled.dataset, configuration, device=chosen.name, watch=track_and_watch)
        record = _describe(dataset, configuration, chosen, fitted.last)
        run = save_run(folder, Run(record, filled.finish(fitted.model), dataset.rows))
    seconds = dataset.seconds + time.perf_counter() - start
    return Outcome(run, fitted.last, chosen, seconds)


def _check_apart(out: Path, logdir: Path | None) -> None:
    """Refuse a logdir in the run folder: the new run takes the whole folder's place."""
    if logdir is not None and logdir.resolve().is_relative_to(out.resolve()):
        raise UsageError(
            f"--logdir {logdir} lies in the run folder {out}, which is replaced as a whole; "
            f"leave --logdir away and TensorBoard's files go to {out / TENSORBOARD}"
        )


def _describe(
    dataset: Dataset, configuration: Configuration, device: Device, last: Epoch
) -> RunRecord:
    """Write down what was done; nothing that differs between machines, folders or days."""
    return RunRecord(
        format=FORMAT,
        model="simplenet",
        hidden=configuration.hidden,
        schema=dataset.schema,
        configuration={**configuration.to_record(device.name), **dataset.options},
        seed=configuration.seed,
        data_digest=dataset.digest(),
        metrics={
            "accuracy": last.accuracy,
            "loss": last.loss,
            "test_loss": last.test_loss,
            "train_rows": float(len(dataset.rows.train_labels)),
            "test_rows": float(len(dataset.rows.test_labels)),
        },
        versions={
            **{name: metadata.version(name) for name in _PACKAGES},
            "python": platform.python_version(),
        },
        files={},
        check=dataset.check or UNSET,
    )
