"""Resuming an interrupted run: its options, and whether a checkpoint belongs to it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import msgspec

from runtime.errors import ArtifactError, UsageError
from runtime.io.temporary import workdir_path
from runtime.surfaces import option
from trainer.checkpoint.format import CHECKPOINT, CheckpointRecord, FitIdentity, read_record
from trainer.config import configure

if TYPE_CHECKING:
    from pathlib import Path

    from trainer.config import Configuration, Options, Preset


# Options that may change when a run is resumed; any other makes it another run.
CHANGEABLE = frozenset({"learning_rate", "schedule", "weight_decay", "epochs", "patience"})


def resume_options(out: Path, preset: Preset | None, overrides: Options) -> Configuration:
    """Combine the options of an interrupted run with those that override them.

    Without a checkpoint these are the options of a new run.
    """
    record = read_record(workdir_path(out))
    if record is None:
        return configure(preset or "default", **overrides)
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
            f"the interrupted run of {out} has {name.replace('_', ' ')} {getattr(base, name)}, not "
            f"{changed[name]}: drop that option, or start over without " + option("resume", True)
        )
    return replace(base, **changed)  # type: ignore[arg-type]  # as Options has them


def has_checkpoint(out: Path) -> bool:
    """Check whether there is a checkpoint of this run."""
    return read_record(workdir_path(out)) is not None


def describe_start(out: Path, *, resume: bool) -> str | None:
    """Describe what happens to the checkpoint of an interrupted run; None without one."""
    folder = workdir_path(out)
    if not resume:
        found = (folder / CHECKPOINT).exists()
        return (
            f"discarding the interrupted run in {folder}; {option('resume', True)} continues it"
            if found
            else None
        )
    record = read_record(folder)
    if record is None:
        return f"no interrupted run of {out}: starting from the beginning"
    return f"resuming {out} at {record.where}"


def check_resumable(record: CheckpointRecord, fit: FitIdentity, where: Path) -> FitIdentity:
    """Check that a checkpoint belongs to a run; list changed options in its ``changed``."""
    before = record.fit
    differ = [
        name
        for name in ("hidden", "seed", "data_digest", "versions")
        if getattr(before, name) != getattr(fit, name)
    ]
    names = (before.options.keys() | fit.options.keys()) - {"changed"}
    changed = {name for name in names if before.options.get(name) != fit.options.get(name)}
    if differ := [*differ, *sorted(changed - CHANGEABLE)]:
        raise ArtifactError(
            f"{where} holds another run: it differs in {', '.join(differ)}; use the options and "
            f"the data of the interrupted run, or start over without {option('resume', True)}"
        )
    notes = [str(before.options["changed"])] if "changed" in before.options else []
    notes += [f"{name} {before.options[name]} until {record.where}" for name in sorted(changed)]
    if not notes:
        return fit
    return msgspec.structs.replace(fit, options={**fit.options, "changed": "; ".join(notes)})
