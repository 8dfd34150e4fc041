"""An output folder that several processes fill: attempts are staged, and published once.

A worker writes each file as an attempt, under a name that no reader looks at. When all are whole,
the driver chooses one attempt of each name and publishes them, local folders with one rename,
prefixes of object stores by copies within the store, ``_SUCCESS`` last. A run that is killed
publishes nothing; its whole attempts can be used by the next run of the same name.
"""

from __future__ import annotations

import hashlib
import os
import socket
from contextlib import ExitStack, contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol

import msgspec

from runtime.errors import DataError, UsageError
from runtime.io import local_staging
from runtime.io.success import Success
from runtime.value import Record, Value

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from contextlib import AbstractContextManager

    from runtime.io.paths import Location
    from runtime.io.streams import ByteSink
    from runtime.io.success import MakeMarker

_PARTS, _RECORDS, _ATTEMPTS = "parts", "records", "attempts"
_MAX_NAME: Final = 200  # bytes; a file's name has at most 255, and an attempt's is longer


class Part(Record, frozen=True):
    """A whole attempt to write a file.

    Attributes:
        name: of the file, relative to the folder.
        attempt: tells it from other attempts of the same name.
        rows: of the file.
        size: bytes.
        extra: what the worker keeps with it, such as a summary.
    """

    name: str
    attempt: str
    rows: int
    size: int
    extra: bytes = b""

    @property
    def staged(self) -> str:
        """Its name while it is staged."""
        return f"{_PARTS}/{_attempt_name(self.name, self.attempt)}"


def _attempt_name(name: str, attempt: str) -> str:
    """Name an attempt to write a file: that of a file with a long name has a digest of it."""
    folder, slash, last = name.rpartition("/")
    if len(content := os.fsencode(last)) > _MAX_NAME:
        last = hashlib.sha256(content).hexdigest()
    return f"{folder}{slash}{last}.{attempt}"


class PartWriter:
    """An attempt that is written; a sink of bytes.

    Attributes:
        rows: to be set before the end of the block.
        extra: likewise.
        result: the part, once the block has succeeded.
    """

    def __init__(self, name: str, stream: ByteSink) -> None:
        """Write an attempt of a name to a stream."""
        self.rows, self.extra = 0, b""
        self.result: Part | None = None
        self._name, self._stream, self._size = name, stream, 0

    def write(self, data: bytes | memoryview, /) -> None:
        """Write all of the bytes."""
        self._stream.write(data)
        self._size += memoryview(data).nbytes

    def flush(self) -> None:
        """Flush, as far as the destination can."""
        self._stream.flush()

    def finish(self, attempt: str) -> Part:
        """Describe what was written."""
        self.result = Part(self._name, attempt, self.rows, self._size, self.extra)
        return self.result


class _Stage(Protocol):
    """Where attempts are staged; picklable."""

    def open(self, name: str) -> AbstractContextManager[ByteSink]:
        """Open a file that is there, complete, when the block succeeds."""

    def put(self, name: str, content: bytes) -> None:
        """Write a small file at once."""

    def read(self, name: str) -> bytes:
        """Read a small file."""

    def location(self, name: str) -> Location:
        """Where a file is, for those who read it."""

    def names(self, folder: str = "") -> list[str]:
        """List the files, or those in a folder, sorted."""

    def delete(self, *names: str) -> None:
        """Delete files, as far as possible."""

    def check(self) -> None:
        """Refuse a destination that holds files."""

    def publish(self, moves: Mapping[str, str], success: MakeMarker) -> None:
        """Move staged files to their names, then the marker; all or none."""

    def remove(self) -> None:
        """Remove what is staged, as far as possible."""


class Staging(Value, frozen=True):
    """Where the workers of a run write their attempts; picklable."""

    stage: _Stage

    @contextmanager
    def attempt(self, name: str) -> Iterator[int]:
        """Leave a mark while a worker is at a file, which stays when its process is killed.

        Args:
            name: of the file, relative to the folder.

        Yields:
            How many workers were killed at the file before, or are at it.

        Raises:
            DataError: when it cannot be written.
            UnavailableError: when the store cannot be reached, or denies access.
        """
        folder = f"{_ATTEMPTS}/{name}"
        earlier = len(self.stage.names(folder))
        mark = f"{folder}/{os.urandom(8).hex()}"
        self.stage.put(mark, f"{socket.gethostname()} {os.getpid()}\n".encode())
        try:
            yield earlier
        finally:
            self.stage.delete(mark)

    @contextmanager
    def write(self, name: str) -> Iterator[PartWriter]:
        """Write an attempt of a file; a part when the block succeeds, nothing otherwise.

        Args:
            name: of the file, relative to the folder.

        Yields:
            A sink of bytes; set its ``rows`` and ``extra``.

        Raises:
            DataError: when it cannot be written.
            UnavailableError: when the store cannot be reached, or denies access.
        """
        attempt = os.urandom(8).hex()
        with self.stage.open(f"{_PARTS}/{_attempt_name(name, attempt)}") as stream:
            writer = PartWriter(name, stream)
            yield writer
        part = writer.finish(attempt)
        # The record is written last: an attempt without one is not whole.
        self.stage.put(f"{_RECORDS}/{_attempt_name(name, attempt)}", msgspec.json.encode(part))


class Destination:
    """A folder that a run writes; see ``open_destination``.

    Attributes:
        staging: for the workers.
        is_complete: whether all parts are there, to be published.
        is_published: whether ``commit`` has succeeded.
    """

    def __init__(self, stage: _Stage) -> None:
        """Take the stage of the run."""
        self._stage = stage
        self.staging = Staging(stage)
        self.is_complete = False
        self.is_published = False

    def whole_parts(self) -> list[Part]:
        """List the attempts of this run that are whole, of killed processes, too.

        Returns:
            The parts, sorted by name; several of one name where it was tried again.

        Raises:
            DataError: when the record of one is damaged.
        """
        names = set(self._stage.names())
        records = [name for name in names if name.startswith(f"{_RECORDS}/")]
        try:
            parts = [msgspec.json.decode(self._stage.read(each), type=Part) for each in records]
        except msgspec.DecodeError as exc:
            raise DataError(f"a record of what was written before is damaged: {exc}") from exc
        return sorted((part for part in parts if part.staged in names), key=_by_name)

    def forget_attempts(self) -> None:
        """Remove the marks of the workers that were killed, see ``Staging.attempt``."""
        self._stage.delete(*self._stage.names(_ATTEMPTS))

    def location(self, part: Part) -> Location:
        """Where a part is while it is staged."""
        return self._stage.location(part.staged)

    def discard(self) -> None:
        """Remove what is staged, as far as possible."""
        self._stage.remove()

    def commit(self, parts: Sequence[Part]) -> None:
        """Publish the folder: these parts under their names, then ``_SUCCESS``.

        Args:
            parts: one of each name.

        Raises:
            UsageError: when two parts have one name, or the folder now holds files.
            DataError: when they cannot be moved.
            UnavailableError: when the store cannot be reached, or denies access.
        """
        moves = {part.name: part.staged for part in parts}
        if len(moves) < len(parts):
            raise UsageError("several parts have one name: commit one of each")
        rows = {part.name: part.rows for part in parts}
        self._stage.publish(moves, Success(rows, {part.name: part.size for part in parts}))
        self.is_published = True


@contextmanager
def open_destination(
    folder: Location, *, run: str | None = None, keep: bool = False, for_file: bool = False
) -> Iterator[Destination]:
    """Open a folder to write in several processes; nothing appears before ``commit``.

    Args:
        folder: local, or a prefix of an object store; it must hold no files.
        run: name of the run; what was staged under it before can be used. None is a new one.
        keep: keep what is staged when the block ends without a commit, for a later run.
        for_file: the parts are those of a file, which the caller writes: ``folder`` is no folder
            that must hold no files, and ``commit`` is not called.

    Yields:
        The destination.

    Raises:
        UsageError: when the folder holds files, cannot be written, or another process writes it.
        UnavailableError: when the store cannot be reached, or denies access.
    """
    with ExitStack() as stack:
        stage = stack.enter_context(_open_stage(folder, run or os.urandom(8).hex()))
        if not for_file:
            stage.check()
        destination = Destination(stage)
        try:
            yield destination
        finally:
            if not (keep or destination.is_published):
                stage.remove()


def staged_runs(folder: Location) -> list[str]:
    """List the runs that have staged attempts for a folder and did not publish them.

    Args:
        folder: local, or a prefix of an object store.

    Returns:
        Their names, sorted.
    """
    if isinstance(folder, Path):
        return local_staging.staged_runs(folder)
    from runtime.io.stores.staging import staged_runs as stored_runs

    return stored_runs(folder)


def _open_stage(folder: Location, run: str) -> AbstractContextManager[_Stage]:
    if isinstance(folder, Path):
        return local_staging.open_stage(folder, run)
    from runtime.io.stores.staging import StoredStage

    return nullcontext(StoredStage(folder, run))


def _by_name(part: Part) -> str:
    return part.name
