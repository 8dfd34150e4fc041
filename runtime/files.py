"""Outputs that appear whole or not at all.

A file or folder is written under a temporary name beside its destination, flushed to the
disk and then renamed, so that an interruption at any moment leaves the destination as it was.
Raises ``UsageError`` for a destination that cannot be one and ``DataError`` when writing fails.
"""

from __future__ import annotations

import ctypes
import errno
import os
import shutil
import stat
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING, Literal

from runtime.errors import DataError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator

STANDARD_STREAM = Path("-")
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_FAULTS = _FULL | {errno.EIO, errno.EROFS, errno.EBADF}
_AT_FDCWD = -100
_RENAME_EXCHANGE = 2  # linux/fs.h


@contextmanager
def atomic_file(path: Path) -> Iterator[IO[bytes]]:
    """Open ``path`` for writing; it appears, complete, when the block ends without an error.

    A device or pipe given as ``path`` is written in place: renaming over it would replace it.

    Args:
        path: destination; its folder must exist.

    Yields:
        A binary file to write to.

    Raises:
        UsageError: when the destination is a folder, or its folder is missing or not writable.
        DataError: when writing fails, for example on a full disk.
    """
    if is_special(path):
        with writing(path), _open_new(path, path, "wb") as stream:
            yield stream
        return
    path = _resolve(path)  # through a link: the file it names is replaced, the link stays
    if path.is_dir():
        raise UsageError(f"{path} is a folder; give the name of a file to write")
    partial = _partial_name(path)
    stream = _open_new(partial, path.parent, "xb")
    try:
        with writing(path), stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        _keep_mode(path, partial)
        partial.replace(path)
        _sync_folder(path.parent)
    finally:
        partial.unlink(missing_ok=True)


@contextmanager
def atomic_folder(path: Path, *, marker: str) -> Iterator[Path]:
    """Fill a folder that takes the place of ``path`` when the block ends without an error.

    Args:
        path: destination; missing parents are made.
        marker: name of the file that every folder of this kind contains. An existing
            destination without it is not ours and is never replaced.

    Yields:
        The temporary folder to fill.

    Raises:
        UsageError: when ``path`` exists and is not a folder with ``marker`` (or empty), or
            cannot be written.
        DataError: when writing fails, for example on a full disk.
    """
    _check_replaceable(path, marker)
    path = _resolve(path)
    if Path.cwd().is_relative_to(path):
        raise UsageError(f"{path} is the folder you are in, or above it; name another to write")
    partial = _partial_name(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial.mkdir()
    except OSError as exc:
        raise UsageError(f"cannot write {path}: {exc.strerror}") from exc
    try:
        with writing(path):
            yield partial
            _sync_tree(partial)
            _replace_folder(partial, path)
            _sync_folder(path.parent)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def is_special(path: Path) -> bool:
    """Tell whether ``path`` is something to write into, not to replace.

    Args:
        path: a destination.

    Returns:
        True for a device, pipe or socket.

    Raises:
        UsageError: when nobody can look at ``path``, let alone write there.
    """
    return _file_type(path) not in {None, stat.S_IFREG, stat.S_IFDIR}


@contextmanager
def writing(where: object) -> Iterator[None]:
    """Turn the system's errors while writing into one clear message.

    Args:
        where: name of the destination for messages.

    Raises:
        DataError: when the disk is full or fails.
    """
    try:
        yield
    except BrokenPipeError:
        raise  # the reader has gone: the command stops quietly
    except OSError as exc:
        if exc.errno not in _FAULTS:
            raise
        advice = "; make room and run again" if exc.errno in _FULL else ""
        raise DataError(f"cannot write {where}: {exc.strerror}{advice}") from exc


def _resolve(path: Path) -> Path:
    try:
        return path.resolve()
    except OSError as exc:  # the current folder is gone, or links lead in a circle
        raise UsageError(f"cannot write {path}: {exc.strerror}") from exc


def _partial_name(path: Path) -> Path:
    # Random: a process id comes again, in a container at once, and the file of a run that was
    # killed would stand in the way. Shortened: any name that the system takes will do.
    return path.with_name(f".{path.name[:40]}.{os.urandom(4).hex()}.partial")


def _file_type(path: Path) -> int | None:
    """Ask what ``path`` is, as the ``S_IF`` constants of ``stat`` say; None where nothing is."""
    try:
        return stat.S_IFMT(path.stat().st_mode)
    except FileNotFoundError:
        return None
    except OSError as exc:
        raise UsageError(f"cannot write {path}: {exc.strerror}") from exc


def _open_new(path: Path, where: Path, mode: Literal["wb", "xb"]) -> IO[bytes]:
    try:
        return path.open(mode)
    except OSError as exc:
        raise UsageError(f"cannot write into {where}: {exc.strerror}") from exc


def _keep_mode(path: Path, partial: Path) -> None:
    """Give the new file the permissions of the one it replaces."""
    with suppress(FileNotFoundError):
        partial.chmod(stat.S_IMODE(path.stat().st_mode))


def _check_replaceable(path: Path, marker: str) -> None:
    kind = _file_type(path)
    if kind is None:
        return
    if kind != stat.S_IFDIR:
        raise UsageError(f"{path} is a file; give the name of a folder to write")
    if not (path / marker).exists() and any(path.iterdir()):
        raise UsageError(
            f"{path} holds other files and no {marker}: it is not replaced; "
            "choose another folder or empty this one"
        )


def _replace_folder(new: Path, old: Path) -> None:
    """Put ``new`` at ``old``; afterwards ``new`` names what was there before, if anything."""
    if not old.exists():
        try:
            new.rename(old)
        except OSError as exc:  # another process was first
            if exc.errno not in {errno.ENOTEMPTY, errno.EEXIST}:
                raise
            _replace_folder(new, old)
    elif not _exchange(new, old):
        # Two renames where the system cannot exchange: a reader may miss the folder between.
        aside = _partial_name(old)
        old.rename(aside)
        new.rename(old)
        shutil.rmtree(aside, ignore_errors=True)


def _exchange(a: Path, b: Path) -> bool:
    """Swap two names in one step with Linux's renameat2; False where it is missing."""
    try:
        renameat2 = ctypes.CDLL(None, use_errno=True).renameat2
    except (OSError, AttributeError):
        return False
    done: int = renameat2(
        _AT_FDCWD, os.fsencode(a), _AT_FDCWD, os.fsencode(b), ctypes.c_uint(_RENAME_EXCHANGE)
    )
    return done == 0


def _sync_tree(folder: Path) -> None:
    for file in folder.rglob("*"):
        if file.is_file():
            with file.open("rb") as stream:
                os.fsync(stream.fileno())


def _sync_folder(folder: Path) -> None:
    """Make a rename durable; file systems that cannot sync a folder are left to themselves."""
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
