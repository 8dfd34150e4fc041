"""Starting where an interrupted run is: whether it may start, and what resuming it continues."""

from __future__ import annotations

from dataclasses import asdict, fields, replace
from typing import TYPE_CHECKING

import msgspec

from runtime.errors import ArtifactError, UsageError
from runtime.io.temporary import locked_workdir, workdir_path
from runtime.surfaces import option
from trainer.checkpoint.format import CHECKPOINT, CheckpointRecord, FitIdentity, read_record
from trainer.checkpoint.trials import has_search, read_search
from trainer.config import Configuration
from trainer.run import RECORD

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from pathlib import Path

    from runtime.bundle.manifest import Scalar
    from trainer.config import Options, Preset


# Options that may change when a run is resumed; any other makes it another run.
CHANGEABLE = frozenset({"learning_rate", "schedule", "weight_decay", "epochs", "patience"})
_NOT_OF_TABLE = frozenset({"changed", "device", "processes"})  # among the options of a run


def check_start(out: Path, *, resume: bool, restart: bool) -> None:
    """Refuse to discard an interrupted run unasked."""
    if resume or restart or not has_checkpoint(out):
        return
    with locked_workdir(out):  # refuses one that is running
        pass
    raise UsageError(
        f"{out} was interrupted{_position(out)}: {option('resume', True)} continues it, "
        f"{option('restart', True)} discards it and starts over; or give another {option('out')}"
    )


def has_checkpoint(out: Path) -> bool:
    """Check whether there is a checkpoint of this run, intact or not."""
    return (workdir_path(out) / CHECKPOINT).exists()


def _position(out: Path) -> str:
    """Describe where a run was interrupted; empty if its checkpoint or search is damaged."""
    try:
        record = read_record(workdir_path(out))
        if record is None and (search := read_search(out)):
            return f", {search.where}"
    except ArtifactError:
        return ""
    return f" before {record.where} of {record.fit.options.get('epochs')} epochs" if record else ""


def resume_options(out: Path, preset: Preset | None, overrides: Options) -> Configuration | None:
    """Combine the options of an interrupted run with those that override them.

    None without a checkpoint.
    """
    record = read_record(workdir_path(out))
    if record is None:
        return None
    base = record.fit.configuration()
    requested: dict[str, object] = {"preset": preset, **overrides}
    changed = {
        name: value
        for name, value in requested.items()
        if value is not None and value != getattr(base, name)
    }
    if fixed := sorted(changed.keys() - CHANGEABLE):
        name = fixed[0]
        raise UsageError(
            f"the interrupted run of {out} has {_spaced(name)} {_shown(getattr(base, name))}, not "
            f"{_shown(changed[name])}: drop that option, or start over with "
            + option("restart", True)
        )
    configuration = replace(base, **changed)  # type: ignore[arg-type]  # as Options has them
    _check_epochs(out, record, configuration)
    return configuration


def _check_epochs(out: Path, record: CheckpointRecord, configuration: Configuration) -> None:
    """Refuse a number of epochs that the interrupted run has passed."""
    begun = record.epoch + bool(record.step)
    if configuration.epochs < begun:
        raise UsageError(
            f"the interrupted run of {out} is at {record.where}, which is beyond "
            f"{option('epochs', configuration.epochs)}: give {option('epochs', begun)} or more, or "
            f"start over with {option('restart', True)}"
        )


def describe_start(
    out: Path, configuration: Configuration, *, resume: bool, restart: bool
) -> str | None:
    """Describe what happens to the run that is there, complete or not; None without one."""
    is_complete, found = (out / RECORD).exists(), has_checkpoint(out)
    if resume and not found and (search := read_search(out)):
        return f"resuming {out} {search.where}"
    if resume and found and (record := read_record(workdir_path(out))):
        changes = _describe_changes(record.fit.configuration(), configuration)
        return f"resuming {out} at {record.where}{changes}"
    if resume and is_complete:
        return f"{out} was not interrupted: it stays if it is the same run"
    if resume:
        return f"no interrupted run of {out}: starting from the beginning"
    if restart and (found or has_search(out)):
        return f"discarding the interrupted run of {out}{_position(out)}"
    return (
        f"{out} holds a complete run, which this one replaces at its end" if is_complete else None
    )


def _describe_changes(before: Configuration, now: Configuration) -> str:
    """Describe the options that differ; empty if none do."""
    old, new = asdict(before), asdict(now)
    changes = [
        f"{_spaced(name)} {_shown(new[name])} instead of {_shown(old[name])}"
        for name in old
        if new[name] != old[name]
    ]
    return f", now with {', '.join(changes)}" if changes else ""


def check_table_options(out: Path, options: Mapping[str, Scalar]) -> None:
    """Refuse other options of the table than the interrupted run has, before it is read."""
    record = read_record(workdir_path(out))
    if record is None:
        return
    others = {*(field.name for field in fields(Configuration)), *_NOT_OF_TABLE}
    before = {name: each for name, each in record.fit.options.items() if name not in others}
    if bool(before) != bool(options):
        data = "a table" if before else "synthetic products"
        raise UsageError(
            f"the interrupted run of {out} is one of {data}: give the same "
            f"{option('data')} and {option('label')}, or "
            f"start over with {option('restart', True)}"
        )
    if differences := _compare(before, options):
        raise UsageError(
            f"the interrupted run of {out} has {', '.join(differences)}: give the same options, or "
            f"start over with {option('restart', True)}"
        )


def check_resumable(record: CheckpointRecord, fit: FitIdentity, where: Path) -> FitIdentity:
    """Check that a checkpoint belongs to a run; list changed options in its ``changed``."""
    before = record.fit
    names = (before.options.keys() | fit.options.keys()) - {"changed"}
    changed = {name for name in names if before.options.get(name) != fit.options.get(name)}
    if fixed := describe_differences(before, fit, apart_from=CHANGEABLE):
        raise ArtifactError(
            f"{where} holds another run, with {fixed}: use the options and the data of "
            f"the interrupted run, or start over with {option('restart', True)}"
        )
    notes = [str(before.options["changed"])] if "changed" in before.options else []
    notes += [f"{name} {before.options[name]} until {record.where}" for name in sorted(changed)]
    if not notes:
        return fit
    return msgspec.structs.replace(fit, options={**fit.options, "changed": "; ".join(notes)})


def describe_differences(
    before: FitIdentity, now: FitIdentity, *, apart_from: Collection[str] = ()
) -> str:
    """Describe how two runs differ, apart from some options; empty if they do not."""
    ignored = {"changed", *apart_from}
    options = (
        {name: each for name, each in run.options.items() if name not in ignored}
        for run in (before, now)
    )
    found = [
        *_compare({"hidden": before.hidden}, {"hidden": now.hidden}),
        *_compare({"seed": before.seed}, {"seed": now.seed}),
        *(["other rows"] if before.data_digest != now.data_digest else []),
        *_compare(before.versions, now.versions),
        *_compare(*options),
    ]
    return ", ".join(found)


def _compare(before: Mapping[str, object], now: Mapping[str, object]) -> list[str]:
    """Describe the values that differ, old and new."""
    names = sorted(before.keys() | now.keys())
    return [
        f"{_spaced(name)} {_shown(before.get(name))}, not {_shown(now.get(name))}"
        for name in names
        if before.get(name) != now.get(name)
    ]


def _shown(value: object) -> str:
    if isinstance(value, tuple):
        return ",".join(map(str, value)) or "none"
    return "none" if value in {None, False} else "yes" if value is True else str(value)


def _spaced(name: str) -> str:
    return name.replace("_", " ")
