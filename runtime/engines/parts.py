"""Runs whose workers fill a folder: what is left of an interrupted one, and what is published."""

from __future__ import annotations

import hashlib
import socket
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

from runtime.errors import DataError, UnavailableError, UsageError
from runtime.io.destinations import open_destination, staged_runs
from runtime.io.temporary import workdir_path
from runtime.surfaces import option

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from runtime.io.destinations import Destination, Part, Staging
    from runtime.io.paths import Location

_MAX_ATTEMPTS: Final = 4  # as Spark's spark.task.maxFailures
_DIGITS: Final = 16  # of each digest in the name of a run


@contextmanager
def open_run(
    out: Location, identity: Mapping[str, str], *, resume: bool, for_file: bool = False
) -> Iterator[Destination]:
    """Open a folder to be filled by a run of this identity, see ``open_destination``.

    What is staged stays when the block is interrupted, or the engine fails, and some part is whole,
    or when all are and cannot be published.
    With ``resume`` it is what an interrupted run of the same identity has left; otherwise that is
    removed. ``identity`` has texts by what a message calls them. Raises ``UsageError`` for an
    interrupted run of another identity.
    """
    run = "-".join(_digest(text) for text in identity.values())
    for other in staged_runs(out):
        if resume and other != run:
            parts = zip(identity, run.split("-"), other.split("-"), strict=False)
            changed = ", ".join(name for name, now, before in parts if now != before)
            raise UsageError(
                f"{out}: the interrupted run had {changed or 'something'} of its own: leave out "
                f"{option('resume')} to start again, which discards what it has written"
            )
        if not resume:
            with open_destination(out, run=other, for_file=for_file):
                pass  # removed at the end
    with open_destination(out, run=run, keep=True, for_file=for_file) as destination:
        destination.forget_attempts()
        try:
            yield destination
        except (DataError, UsageError) as exc:
            if destination.is_complete:  # a full disk, a folder that now holds files
                raise type(exc)(
                    f"{exc}; all parts are complete and kept: {option('resume', True)} publishes "
                    "them"
                ) from exc
            destination.discard()  # the same job would fail again
            raise
        except BaseException:
            if not destination.whole_parts():
                destination.discard()
            raise


def staging_folder(out: Location) -> Location:
    """Return the folder for which the parts of a file are staged."""
    return out if isinstance(out, Path) else out.with_name(f"{out.name}.partial")


def commit(destination: Destination, parts: Sequence[Part]) -> None:
    """Publish parts, after a check that this machine sees them all.

    Raises ``DataError`` if it does not, and what ``Destination.commit`` does.
    """
    check_seen(destination, parts)
    destination.commit(parts)


def check_seen(destination: Destination, parts: Sequence[Part]) -> None:
    """Check that this machine sees all that the workers wrote; raises ``DataError``."""
    seen = {part.staged for part in destination.whole_parts()}
    if missing := [part.name for part in parts if part.staged not in seen]:
        raise DataError(
            f"{missing[0]} was written by a worker and is not here: all nodes and this machine "
            "need the output's folder under the same path, on a file system that they share, or an "
            "object store; nothing was written"
        )
    destination.is_complete = True


@contextmanager
def attempt(
    out: Location, staging: Staging, name: str, *, title: str = "", advice: str = ""
) -> Iterator[None]:
    """Work on a file, unless the output's folder is not shared, or it has ended its workers.

    Raises ``DataError`` for the former, and ``UnavailableError``, with its ``title``, for the
    latter: engines would start a worker for it again and again.
    """
    if isinstance(out, Path) and not workdir_path(out).is_dir():
        raise DataError(
            f"{socket.gethostname()} does not see {workdir_path(out).absolute()}: all nodes need "
            "the output's folder under the same path, on a file system that they share, or an "
            "object store"
        )
    with staging.attempt(name) as earlier:
        if earlier >= _MAX_ATTEMPTS:
            raise UnavailableError(
                f"{title or name}: {earlier} workers ended while they worked on it, without an "
                "error; the logs of the engine and of the system say why, such as a lack of memory"
                + advice
            )
        yield


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:_DIGITS]
