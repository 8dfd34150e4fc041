"""Temporary siblings: what an output is called while it is written.

A writer holds an exclusive lock (``flock``) on its temporary file or folder until that has taken
its place or is gone. The lock ends with the process, however that ends: what nobody holds is the
rest of a run that was killed, and the next run to the same destination sweeps it away. Raises
``OSError`` where nothing can be made.
"""

from __future__ import annotations

import errno
import os
import re
import shutil
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

_PARTIAL = "partial"
_REPLACED = "replaced"  # a folder set aside for a moment, the only copy until the new one is there
_LOCK_TAKEN = frozenset({errno.EACCES, errno.EAGAIN})
_MOST_TRIES = 20  # where files have no lasting numbers nothing is ever swept: go on without a lock
_CAREFUL = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)


@contextmanager
def partial_file(path: Path) -> Iterator[tuple[Path, int]]:
    """Make an empty temporary file beside ``path``.

    Args:
        path: destination, resolved.

    Yields:
        The temporary file and a descriptor of it to write to, both the block's to use; what
        still bears the temporary name at its end is removed.
    """
    sweep(path)
    partial, descriptor = _make(path, _make_file)
    try:
        yield partial, descriptor
    finally:
        _remove(partial)
        os.close(descriptor)
    sweep(path)  # again, for those who died meanwhile


@contextmanager
def partial_folder(path: Path) -> Iterator[Path]:
    """Make an empty temporary folder beside ``path``.

    Args:
        path: destination, resolved.

    Yields:
        The temporary folder; what still bears its name at the end of the block is removed.
    """
    sweep(path)
    partial, descriptor = _make(path, _make_folder)
    try:
        yield partial
    finally:
        _remove(partial)
        os.close(descriptor)
    sweep(path)


def partial_name(path: Path) -> Path:
    """Choose a name for what will take the place of ``path``."""
    return _sibling(path, _PARTIAL)


@contextmanager
def set_aside(folder: Path) -> Iterator[Path]:
    """Move a folder out of the way of another, and remove it; or back, if none takes its place.

    Args:
        folder: must exist.

    Yields:
        Its name meanwhile.
    """
    aside = _sibling(folder, _REPLACED)
    descriptor = os.open(folder, os.O_RDONLY)
    try_lock(descriptor)
    try:
        folder.rename(aside)
        yield aside
    finally:
        if folder.exists():
            _remove(aside)
        else:
            with suppress(OSError):
                aside.rename(folder)
        os.close(descriptor)


def sweep(path: Path) -> None:
    """Remove what killed writers of ``path`` left beside it; those alive are not touched.

    Args:
        path: destination, resolved.
    """
    left_by_writers = re.compile(
        rf"\.{re.escape(_stem(path))}\.[0-9a-f]{{8}}\.({_PARTIAL}|{_REPLACED})"
    )
    rests: list[Path] = []
    with suppress(OSError), os.scandir(path.parent) as entries:
        rests = [
            path.with_name(entry.name) for entry in entries if left_by_writers.fullmatch(entry.name)
        ]
    for rest in rests:
        if rest.suffix == f".{_REPLACED}" and not path.exists():
            continue  # of a run killed between two renames: a person may want it back
        with suppress(OSError):
            _remove_if_dead(rest)


def _stem(path: Path) -> str:
    return path.name[:40]  # shortened: any name that the system takes will do


def _sibling(path: Path, ending: str) -> Path:
    # Random: a process id comes again, in a container at once, and the file of a run that was
    # killed would stand in the way.
    return path.with_name(f".{_stem(path)}.{os.urandom(4).hex()}.{ending}")


def _make(path: Path, make: Callable[[Path], int]) -> tuple[Path, int]:
    """Make a temporary sibling and lock it, again if a sweeper was faster than the lock."""
    partial = partial_name(path)
    descriptor = make(partial)
    for _ in range(_MOST_TRIES):
        if try_lock(descriptor) is not False and is_at(partial, descriptor):
            break
        os.close(descriptor)
        _remove(partial)
        partial = partial_name(path)
        descriptor = make(partial)
    return partial, descriptor


def _make_file(partial: Path) -> int:
    return os.open(partial, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666)


def _make_folder(partial: Path) -> int:
    partial.mkdir()
    try:
        return os.open(partial, os.O_RDONLY)
    except FileNotFoundError:  # swept at once: an empty stand-in is found out to be one
        return os.open(os.devnull, os.O_RDONLY)


def _remove_if_dead(rest: Path) -> None:
    try:
        descriptor = os.open(rest, os.O_RDWR | _CAREFUL)  # network file systems lock only these
    except (IsADirectoryError, PermissionError):
        descriptor = os.open(rest, os.O_RDONLY | _CAREFUL)
    try:
        # After the lock: its writer may just have finished, and the name be gone or another's.
        if try_lock(descriptor) and is_at(rest, descriptor):
            _remove(rest)
    finally:
        os.close(descriptor)


def try_lock(descriptor: int) -> bool | None:
    """Lock without waiting; the lock ends with the process, or when the descriptor is closed.

    Args:
        descriptor: of a file or folder.

    Returns:
        False where another process holds it, None where nothing can be locked.
    """
    try:
        import fcntl
    except ImportError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as exc:
        return False if exc.errno in _LOCK_TAKEN else None
    return True


def is_at(path: Path, descriptor: int) -> bool:
    """Whether a name is still that of what was opened.

    Args:
        path: the name.
        descriptor: of what was opened.

    Returns:
        False also where the name is gone.
    """
    try:
        return os.path.samestat(path.lstat(), os.fstat(descriptor))
    except OSError:
        return False


def _remove(path: Path) -> None:
    """Remove a file or folder, or as much of it as goes."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with suppress(OSError):
            path.unlink()
