"""Attempts of files in the working folder beside a local folder, renamed to publish them."""

from __future__ import annotations

import os
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Final

from runtime.errors import DataError, UsageError
from runtime.io.atomic import sync_folder, translate_rename_errors
from runtime.io.paths import resolve
from runtime.io.streams import translate_write_errors
from runtime.io.success import SUCCESS
from runtime.io.temporary import locked_workdir, remove, remove_workdir, workdir_path
from runtime.value import Value

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from runtime.io.streams import ByteSink
    from runtime.io.success import MakeMarker

_HIDDEN: Final = "_"  # begins names that no reader of a folder looks at


@contextmanager
def open_stage(folder: Path, run: str) -> Iterator[LocalStage]:
    """Open the stage of a run; raises ``UsageError`` when another process writes the folder."""
    with locked_workdir(folder) as workdir:
        try:
            yield LocalStage(folder, workdir / f"{_HIDDEN}{run}")
        finally:
            with suppress(OSError):  # what other runs have staged keeps it
                workdir.rmdir()


def staged_runs(folder: Path) -> list[str]:
    """List the runs with staged attempts, sorted."""
    with suppress(OSError):
        found = [path.name for path in workdir_path(folder).iterdir() if path.is_dir()]
        return sorted(name[1:] for name in found if name[0] == _HIDDEN)
    return []


class LocalStage(Value, frozen=True):
    """Where attempts are staged; picklable.

    Attributes:
        folder: to publish.
        workdir: of the run.
    """

    folder: Path
    workdir: Path

    @contextmanager
    def open(self, name: str) -> Iterator[ByteSink]:
        """Open a file that is removed when the block fails."""
        path = self.workdir / name
        with translate_write_errors(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("xb") as stream:
                try:
                    yield stream
                    stream.flush()
                    os.fsync(stream.fileno())
                except BaseException:
                    remove(path)
                    raise

    def put(self, name: str, content: bytes) -> None:
        """Write a small file, whole or not at all."""
        path = self.workdir / name
        with translate_write_errors(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            temporary = path.with_name(f".{path.name}")
            temporary.write_bytes(content)
            temporary.replace(path)

    def read(self, name: str) -> bytes:
        """Read a small file."""
        try:
            return (self.workdir / name).read_bytes()
        except OSError as exc:
            raise DataError(f"cannot read {self.workdir / name}: {exc.strerror}") from exc

    def location(self, name: str) -> Path:
        """Where a file is, for those who read it."""
        return self.workdir / name

    def names(self, folder: str = "") -> list[str]:
        """List the files, or those in a folder, sorted."""
        found = (self.workdir / folder).rglob("*")
        return sorted(str(path.relative_to(self.workdir)) for path in found if path.is_file())

    def delete(self, *names: str) -> None:
        """Delete files, as far as possible."""
        for name in names:
            remove(self.workdir / name)

    def check(self) -> None:
        """Refuse a folder that holds files, or a file."""
        if self.folder.is_dir():
            if any(self.folder.iterdir()):
                raise UsageError(
                    f"{self.folder} holds files: nothing is written into it; give another folder, "
                    "or empty it"
                )
        elif os.path.lexists(self.folder):
            raise UsageError(f"{self.folder} is a file; give the name of a folder to write")

    def publish(self, moves: Mapping[str, str], success: MakeMarker) -> None:
        """Move staged files into a folder, which is renamed."""
        self.check()
        ready = self.workdir / "ready"
        remove(ready)  # of a run that was killed while it published
        with translate_write_errors(self.folder):
            for name, staged in moves.items():
                target = ready / name
                target.parent.mkdir(parents=True, exist_ok=True)
                _link(self.workdir / staged, target)
            ready.mkdir(exist_ok=True)
            (ready / SUCCESS).write_bytes(success({}))
            sync_folder(ready)
            with translate_rename_errors(self.folder):
                ready.rename(resolve(self.folder))
            sync_folder(self.folder.parent)
        self.remove()

    def remove(self) -> None:
        """Remove the working folder of the run."""
        remove_workdir(self.workdir)


def _link(staged: Path, target: Path) -> None:
    """Give a file a second name, so that a killed commit loses none; rename it without links."""
    try:
        os.link(staged, target)
    except OSError:
        staged.rename(target)
