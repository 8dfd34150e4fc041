"""Temporary files and folders next to an output while it is written, and working folders.

A writer holds an exclusive lock (``flock``) on its temporary file or folder. The lock is
released when the process ends, so an unlocked one was left by a killed run; the next run with the
same destination removes it. Most of this file is that distinction: without it leftovers stay for
ever, or one run removes what another is writing.
"""

from __future__ import annotations

import errno
import itertools
import os
import re
import shutil
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Literal

from runtime.errors import UsageError
from runtime.io.paths import resolve

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_LOCK_TAKEN = frozenset({errno.EACCES, errno.EAGAIN})
_MAX_TRIES = 20  # afterwards without a lock: the file system has no stable inode numbers
_NO_FOLLOW = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)


@contextmanager
def temporary_sibling(path: Path, *, folder: bool = False) -> Iterator[tuple[Path, int]]:
    """Create and lock a file or folder next to ``path``, removed at the end unless renamed."""
    sweep(path)
    temporary, descriptor = _create(path, folder=folder)
    try:
        yield temporary, descriptor
    finally:
        remove(temporary)
        os.close(descriptor)
    sweep(path)  # again, for runs killed meanwhile


def temporary_name(path: Path, ending: Literal["partial", "replaced"] = "partial") -> Path:
    """Return an unused name; ``replaced`` is for a folder that was moved away."""
    # Random: in a container every run has the same process id.
    return path.with_name(f".{_stem(path)}.{os.urandom(4).hex()}.{ending}")


def sweep(path: Path) -> None:
    """Remove leftovers of killed writers of ``path``, and nothing of running ones."""
    pattern = re.compile(rf"\.{re.escape(_stem(path))}\.[0-9a-f]{{8}}\.(partial|replaced)")
    found: list[Path] = []
    with suppress(OSError), os.scandir(path.parent) as entries:
        found = [path.with_name(entry.name) for entry in entries if pattern.fullmatch(entry.name)]
    for leftover in found:
        # A folder moved away by a killed run may be the only copy.
        if leftover.suffix == ".partial" or path.exists():
            with suppress(OSError):
                _remove_unlocked(leftover)


def try_lock(descriptor: int) -> bool | None:
    """Lock a file or folder; False if another process holds it, None without support for locks."""
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
    """Return whether ``path`` still names the open file or folder."""
    try:
        return os.path.samestat(path.lstat(), os.fstat(descriptor))
    except OSError:
        return False


def remove(path: Path) -> None:
    """Remove a file or folder, as far as possible."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with suppress(OSError):
            path.unlink()


def _stem(path: Path) -> str:
    return path.name[:40]  # shortened, so that the longest possible name still has a temporary one


def _create(path: Path, *, folder: bool) -> tuple[Path, int]:
    """Create and lock a temporary sibling; retry if it was swept before it was locked."""
    flags = os.O_RDONLY if folder else os.O_RDWR | os.O_CREAT | os.O_EXCL
    for attempt in itertools.count(1):
        temporary = temporary_name(path)
        if folder:
            temporary.mkdir()
        try:
            descriptor = os.open(temporary, flags, 0o666)
        except FileNotFoundError:
            if folder:
                continue
            raise
        if try_lock(descriptor) is not False and is_at(temporary, descriptor):
            break
        if attempt >= _MAX_TRIES:
            break
        os.close(descriptor)
        remove(temporary)
    return temporary, descriptor


def _remove_unlocked(path: Path) -> None:
    try:
        descriptor = os.open(path, os.O_RDWR | _NO_FOLLOW)  # NFS locks only what is open to write
    except (IsADirectoryError, PermissionError):
        descriptor = os.open(path, os.O_RDONLY | _NO_FOLLOW)
    try:
        # Checked after locking: its writer may just have renamed it.
        if try_lock(descriptor) and is_at(path, descriptor):
            remove(path)
    finally:
        os.close(descriptor)


_MAX_LOCK_TRIES = 20  # another process may remove its folder just before it is locked


def workdir_path(path: Path) -> Path:
    """Return the path of a destination's working folder."""
    return sibling_path(path, ".partial")


def sibling_path(path: Path, ending: str) -> Path:
    """Return the path that is a destination's, links resolved, with an ending.

    Raises ``UsageError`` for the root folder, which has no name.
    """
    target = resolve(path)
    if not target.name:
        raise UsageError(f"{path} is the root folder; give the name of a folder to write")
    return target.with_name(f"{target.name}{ending}")


@contextmanager
def locked_workdir(path: Path) -> Iterator[Path]:
    """Lock the working folder of ``path``, created if missing.

    It stays unless the block calls ``remove_workdir``. Raises ``UsageError`` when it cannot be
    created or another process uses it.
    """
    folder = workdir_path(path)
    try:
        descriptor = _lock(folder)
    except OSError as exc:
        raise UsageError(f"cannot write {folder}: {exc.strerror}") from exc
    if descriptor is None:
        raise UsageError(
            f"another process is writing {path}: wait until it is done, or give another name"
        )
    try:
        yield folder
    finally:
        os.close(descriptor)


def remove_workdir(folder: Path) -> None:
    """Remove a working folder, as far as possible."""
    shutil.rmtree(folder, ignore_errors=True)


def clear_workdir(folder: Path) -> None:
    """Remove the content of a working folder."""
    for path in folder.iterdir():
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()


def _lock(folder: Path) -> int | None:
    """Create and lock the folder; return None if another process holds the lock."""
    for _ in range(_MAX_LOCK_TRIES):
        folder.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(folder, os.O_RDONLY)
        locked = try_lock(descriptor)
        if locked is None or (locked and is_at(folder, descriptor)):
            return descriptor
        os.close(descriptor)
        if locked is False:
            return None
    return None
