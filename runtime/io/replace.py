"""How what was written takes its place: by renames that are undone when one of them fails.

Raises ``DataError`` for what cannot take its place; then everything is as it was.
"""

from __future__ import annotations

import ctypes
import errno
import os
import stat
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from runtime.errors import DataError
from runtime.io.durable import sync_folder
from runtime.io.temporary import partial_name, set_aside
from runtime.value import Value

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

_AT_FDCWD = -100
_RENAME_EXCHANGE = 2  # linux/fs.h


def publish(moves: Sequence[tuple[Path, Path]]) -> None:
    """Put every file in its place, or none.

    The last rename is the moment that counts: what fails before it is undone, what comes after
    it finds everything done. Where the file system can neither exchange two names nor give a
    file a second one, files replaced by then stay replaced.

    Args:
        moves: each a file, on the disk, and where it goes; in this order.

    Raises:
        DataError: when one cannot take its place.
    """
    if not moves:
        return
    steps = [_Step(new, target, _identity(new), _kept(new, target)) for new, target in moves]
    last = steps[-1]
    try:
        for step in steps[:-1]:
            step.do()
        last.do_for_good()
    except BaseException:
        if not last.done:
            for step in reversed(steps[:-1]):
                step.undo()
        raise
    finally:
        for step in steps:
            step.forget()
    for folder in {target.parent for _, target in moves}:
        sync_folder(folder)


def merge_folder(new: Path, old: Path) -> None:
    """Put every file below ``new`` at the same place below ``old``, or none.

    Args:
        new: folder of files, on the disk.
        old: existing folder; its other files stay.

    Raises:
        DataError: when one cannot take its place.
    """
    moves = [
        (file, (old / file.relative_to(new)).resolve())
        for file in sorted(new.rglob("*"))
        if file.is_file()
    ]
    made: list[Path] = []
    try:
        for _, target in moves:
            with _naming(target):
                _make_folders(target.parent, made)
        publish(moves)
    except BaseException:
        for folder in reversed(made):
            with suppress(OSError):  # not empty: everything was done
                folder.rmdir()
        raise
    for folder in made:
        sync_folder(folder.parent)


def replace_folder(new: Path, old: Path) -> None:
    """Put ``new`` at ``old``; afterwards ``new`` names what was there before, if anything.

    Args:
        new: a folder.
        old: a folder on the same file system, or nothing.

    Raises:
        DataError: when it cannot take its place.
    """
    if not old.exists():
        if not rename_folder(new, old):
            replace_folder(new, old)
    elif not exchange(new, old):
        # Two renames where the system cannot exchange: a reader may miss the folder between.
        with _naming(old), set_aside(old):
            new.rename(old)


def rename_folder(new: Path, target: Path) -> bool:
    """Rename a folder to a name nobody has.

    Args:
        new: a folder.
        target: its new name.

    Returns:
        False when another process was first.

    Raises:
        DataError: when it cannot be renamed.
    """
    with _naming(target):
        try:
            new.rename(target)
        except OSError as exc:
            if exc.errno not in {errno.ENOTEMPTY, errno.EEXIST}:
                raise
            return False
    return True


def exchange(a: Path, b: Path) -> bool:
    """Swap two names in one step with Linux's renameat2; False where it is missing."""
    try:
        renameat2 = ctypes.CDLL(None, use_errno=True).renameat2
    except (OSError, AttributeError):
        return False
    done: int = renameat2(
        _AT_FDCWD, os.fsencode(a), _AT_FDCWD, os.fsencode(b), ctypes.c_uint(_RENAME_EXCHANGE)
    )
    return done == 0


class _Step(Value, frozen=True):
    """A rename that can be undone; whether it is done is asked of the disk, not remembered.

    An interruption can come between a rename and a note of it.

    Attributes:
        new: file on its way.
        target: where it goes.
        identity: device and inode of ``new``.
        kept: a second name for what was at ``target``; None when nothing was.
    """

    new: Path
    target: Path
    identity: tuple[int, int] | None
    kept: Path | None

    @property
    def done(self) -> bool:
        return self.identity is not None and _identity(self.target) == self.identity

    def do(self) -> None:
        """Put the file in its place; what was there is kept as ``new`` or ``kept``."""
        self._prepare()
        with _naming(self.target):
            if self.kept is None or not exchange(self.new, self.target):
                self._keep()
                self.new.replace(self.target)

    def do_for_good(self) -> None:
        """Put the file in its place."""
        self._prepare()
        with _naming(self.target):
            self.new.replace(self.target)

    def undo(self) -> None:
        """Put back what was there; ``new`` is no more."""
        if not self.done:
            return
        with suppress(OSError):
            if self.kept is None:
                self.target.unlink()
            elif self.kept.exists():
                self.kept.replace(self.target)
            elif self.new.exists():
                self.new.replace(self.target)

    def forget(self) -> None:
        """Remove the second name; ``new`` is its maker's to remove."""
        if self.kept is not None:
            with suppress(OSError):
                self.kept.unlink(missing_ok=True)

    def _keep(self) -> None:
        if self.kept is not None:
            with suppress(OSError):  # a file system without second names: there is no way back
                os.link(self.target, self.kept)

    def _prepare(self) -> None:
        with _naming(self.target):
            if self.target.is_dir():
                raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
            with suppress(FileNotFoundError):  # as open to others as the file it replaces
                self.new.chmod(stat.S_IMODE(self.target.stat().st_mode))


@contextmanager
def _naming(target: Path) -> Iterator[None]:
    try:
        yield
    except OSError as exc:
        raise DataError(f"cannot write {target}: {exc.strerror}") from exc


def _kept(new: Path, target: Path) -> Path | None:
    """Choose a second name, one that is swept, on the file system of both."""
    return new.with_name(partial_name(target).name) if target.exists() else None


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        state = path.lstat()
    except OSError:
        return None
    return state.st_dev, state.st_ino


def _make_folders(folder: Path, made: list[Path]) -> None:
    """Make a folder and its parents, each noted in ``made``."""
    missing = [folder, *folder.parents]
    missing = missing[: [path.exists() for path in missing].index(True)]
    for path in reversed(missing):
        made.append(path)
        path.mkdir(exist_ok=True)
