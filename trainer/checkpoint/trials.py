"""The trials of a search on disk: what a resumed search continues from, and what its run keeps.

While a search runs they are in a work folder of their own, ``RUN.tuning.partial``: that of the run
is cleared when training starts. Each trial replaces the file.
"""

from __future__ import annotations

from statistics import fmean
from typing import TYPE_CHECKING, Final, Literal

import msgspec

from runtime.bundle.manifest import parse_record, to_json
from runtime.bundle.reading import read_regular_file
from runtime.errors import ArtifactError
from runtime.io.atomic import atomic_file
from runtime.io.temporary import remove_workdir, sibling_path, workdir_path
from runtime.surfaces import option
from runtime.value import Record
from trainer.checkpoint.format import FitIdentity

if TYPE_CHECKING:
    from pathlib import Path

FORMAT: Final = 1
TRIALS: Final = "tuning.json"
_MAX_SIZE: Final = 2**26  # bytes; a trial has less than a thousand

TrialEnd = Literal["complete", "stopped", "failed"]
OptionValue = int | float | str | tuple[int, ...]


class FoldScore(Record, frozen=True):
    """The result of a trial on one of the held-out parts of the training rows.

    Attributes:
        fold: that was held out.
        end: ``complete``; ``stopped`` early, being worse than others; ``failed``.
        epochs: that were completed.
        loss: mean cross-entropy of the rows held out; None for a trial that failed.
        accuracy: of these rows, 0 to 1; likewise.
        rungs: losses at the points where trials are compared, as far as it came.
        reason: why it failed.
    """

    fold: int
    end: TrialEnd
    epochs: int
    loss: float | None = None
    accuracy: float | None = None
    rungs: tuple[float, ...] = ()
    reason: str = ""


class Trial(Record, frozen=True):
    """Options that were tried, by name, and their results by fold."""

    options: dict[str, OptionValue]
    scores: tuple[FoldScore, ...]

    def mean_loss(self, folds: int = 1) -> float | None:
        """Return the mean loss on the first folds; None if it did not complete all of them."""
        found = [score.loss for score in self.scores[:folds] if score.end == "complete"]
        losses = [loss for loss in found if loss is not None]
        return fmean(losses) if len(losses) == folds else None

    def mean_accuracy(self, folds: int = 1) -> float:
        """Return the mean accuracy on the first folds, which it completed."""
        return fmean(score.accuracy or 0.0 for score in self.scores[:folds])


class Search(Record, frozen=True):
    """A search, as far as it has come.

    Attributes:
        format: version of this format.
        fit: identity of the fit without a search.
        budget: as on the command line.
        trials: the first has the options of ``fit``.
        folds: that the best trial is the best of, in the mean; 0 before the search is complete.
        best: position of the best trial; None before.
        seconds: spent so far; 0 in a run, whose bytes do not depend on it.
    """

    format: Literal[1]
    fit: FitIdentity
    budget: str
    trials: tuple[Trial, ...] = ()
    folds: int = 0
    best: int | None = None
    seconds: float = 0.0

    @property
    def winner(self) -> Trial:
        """The best trial of a search that is complete."""
        assert self.best is not None, "the search is complete"  # noqa: S101
        return self.trials[self.best]

    @property
    def where(self) -> str:
        """How far it has come, as text."""
        if self.best is not None:
            return "after its search"
        return f"in its search, after trial {len(self.trials)}"

    @property
    def kept(self) -> str:
        """What is kept of it, as text."""
        count = len(self.trials)
        return f"the {count} trials of the search are kept" if count > 1 else "its trial is kept"

    def as_stored(self) -> bytes:
        """Serialize for the run: the same trials, the same bytes."""
        return to_json(msgspec.structs.replace(self, seconds=0.0))


def trials_destination(out: Path) -> Path:
    """Name the output whose work folder has the trials of a run."""
    return sibling_path(out, ".tuning")


def has_search(out: Path) -> bool:
    """Check whether there are trials of an interrupted search, intact or not."""
    return (workdir_path(trials_destination(out)) / TRIALS).exists()


def read_search(out: Path) -> Search | None:
    """Read the interrupted search of a run; None where there is none."""
    return _read(workdir_path(trials_destination(out)) / TRIALS)


def read_complete_search(run: Path) -> Search | None:
    """Read the search that a complete run keeps; None if it was not tuned."""
    return _read(run / TRIALS)


def write_search(folder: Path, search: Search) -> None:
    """Replace the trials in a work folder."""
    with atomic_file(folder / TRIALS) as stream:
        stream.write(to_json(search))


def remove_trials(folder: Path) -> None:
    """Remove the trials in a work folder."""
    (folder / TRIALS).unlink(missing_ok=True)


def remove_search(out: Path) -> None:
    """Remove the trials of a run that is complete, or of a search that is discarded."""
    remove_workdir(workdir_path(trials_destination(out)))


def _read(path: Path) -> Search | None:
    if not path.exists():
        return None
    advice = f"start over with {option('restart', True)}"
    content = read_regular_file(path, limit=_MAX_SIZE, advice=advice)
    try:
        search = parse_record(content, Search, known_format=FORMAT, where=str(path))
    except ArtifactError as exc:
        raise ArtifactError(f"{exc}, with {option('restart', True)}") from exc
    if search.best is not None and not 0 <= search.best < len(search.trials):
        raise ArtifactError(f"{path} is damaged: it has no trial {search.best}; {advice}")
    return search
