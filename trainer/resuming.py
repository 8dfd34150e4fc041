"""Taking up a fit that was cut off: with which options, and whether it is the same fit.

In: options as given, and the checkpoint beside a run. Out: a ``Configuration``. Raises
``UsageError`` for an option that cannot change on the way and ``ArtifactError`` for a checkpoint
that is damaged or of another fit.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import msgspec

from runtime.errors import ArtifactError, UsageError
from runtime.io.workdir import workdir_path
from trainer.checkpoint import CHECKPOINT, CheckpointRecord, Fit, read_record
from trainer.config import configure

if TYPE_CHECKING:
    from pathlib import Path

    from trainer.config import Configuration, Options, Preset

# What a person may want to change half-way; all other options make it another fit.
CHANGEABLE = frozenset({"learning_rate", "schedule", "weight_decay", "epochs", "patience"})


def resume_options(out: Path, preset: Preset | None, given: Options) -> Configuration:
    """Find the options of a fit that goes on: those it had, but for what is given.

    Args:
        out: the run's folder.
        preset: None where none was given.
        given: options beside it.

    Returns:
        The options; where there is no checkpoint, those of a fit that starts.

    Raises:
        UsageError: when an option is given that cannot change.
        ArtifactError: when the checkpoint is damaged.
    """
    record = read_record(workdir_path(out))
    if record is None:
        return configure(preset or "default", **given)
    base = record.fit.configuration()
    asked: dict[str, object] = {"preset": preset, **given}
    changed = {
        name: value
        for name, value in asked.items()
        if value is not None and value != getattr(base, name)
    }
    if fixed := sorted(changed.keys() - CHANGEABLE):
        name = fixed[0]
        raise UsageError(
            f"the unfinished fit of {out} has {name.replace('_', ' ')} {getattr(base, name)}, not "
            f"{changed[name]}: leave that option away, or start anew without --resume"
        )
    return replace(base, **changed)  # type: ignore[arg-type]  # as Options has them


def is_unfinished(out: Path) -> bool:
    """Tell whether there is a fit of this run to take up.

    Args:
        out: the run's folder.

    Returns:
        Whether there is a checkpoint.

    Raises:
        ArtifactError: when it is damaged.
    """
    return read_record(workdir_path(out)) is not None


def describe_start(out: Path, *, resume: bool) -> str | None:
    """Say what becomes of a fit that was cut off.

    Args:
        out: the run's folder.
        resume: whether it is to be taken up.

    Returns:
        A line for people; None where there is nothing to say.
    """
    folder = workdir_path(out)
    if not resume:
        found = (folder / CHECKPOINT).exists()
        return f"the unfinished fit in {folder} is dropped; --resume takes it up" if found else None
    record = read_record(folder)
    if record is None:
        return f"no unfinished fit of {out}: from the beginning"
    return f"taking up the fit of {out} at {record.where}"


def continue_fit(record: CheckpointRecord, fit: Fit, where: Path) -> Fit:
    """Check that a checkpoint is of a fit, and note what was changed on the way.

    Args:
        record: of the checkpoint.
        fit: as it goes on.
        where: the checkpoint's folder, for messages.

    Returns:
        The fit; its options have ``changed`` where they are not those it started with.

    Raises:
        ArtifactError: when the checkpoint is of other rows, versions or options.
    """
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
            f"{where} holds another fit: it differs in {', '.join(differ)}; give the options and "
            "the rows of the fit that was cut off, or start anew without --resume"
        )
    notes = [str(before.options["changed"])] if "changed" in before.options else []
    notes += [f"{name} {before.options[name]} until {record.where}" for name in sorted(changed)]
    if not notes:
        return fit
    return msgspec.structs.replace(fit, options={**fit.options, "changed": "; ".join(notes)})
