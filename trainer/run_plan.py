"""What a run starts from: its outputs, its device, its identity, and whether it is complete."""

from __future__ import annotations

import os
import platform
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from runtime.errors import UsageError
from runtime.io.folders import check_folder
from runtime.io.paths import resolve
from runtime.io.temporary import workdir_path
from runtime.surfaces import option
from trainer.checkpoint.format import FitIdentity, read_record
from trainer.checkpoint.resume import check_start, describe_differences
from trainer.checkpoint.trials import trials_destination
from trainer.device import Device, Workload, select_device
from trainer.distributed.launch import current_group, on_main_process, process_options
from trainer.loggers.collection import TENSORBOARD
from trainer.run import RECORD, load_run

if TYPE_CHECKING:
    from trainer.config import Configuration, DeviceChoice
    from trainer.data.dataset import Dataset
    from trainer.session import SaveOptions

_PACKAGES = ("onnxferry", "torch", "numpy")


@dataclass(frozen=True)
class RunPlan:
    """What all processes of a run agree on before the first step."""

    device: Device
    identity: FitIdentity
    is_completed: bool


def plan_run(
    out: Path,
    dataset: Dataset,
    configuration: Configuration,
    device: DeviceChoice,
    saving: SaveOptions,
) -> RunPlan:
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
    return RunPlan(selected, identity, is_completed)


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
