"""What a path names: a standard stream, a device, a file, a folder or a pattern."""

from __future__ import annotations

import errno
import os
import stat
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from runtime.errors import UsageError

if TYPE_CHECKING:
    from typing import IO

STANDARD_STREAM = Path("-")
WILDCARDS = frozenset("*?[")
_MOST_LINKS = 40  # as many as Linux follows


def is_special(path: Path) -> bool:
    """Tell whether ``path`` is something to write into, not to replace.

    Args:
        path: a destination.

    Returns:
        True for a device, pipe or socket, and for what is open already, as ``/dev/stdout``.

    Raises:
        UsageError: when nobody can look at ``path``, let alone write there.
    """
    return own_descriptor(path) is not None or file_type(path) not in {
        None,
        stat.S_IFREG,
        stat.S_IFDIR,
    }


def own_descriptor(path: Path) -> int | None:
    """Find out what ``/dev/stdout`` and the like stand for.

    Args:
        path: a destination.

    Returns:
        The number of the open descriptor of this process that ``path`` names, None for a path
        of any other kind.
    """
    with suppress(OSError):
        for _ in range(_MOST_LINKS):
            if path.name.isdigit() and os.path.realpath(path.parent) == os.path.realpath("/dev/fd"):
                return int(path.name)
            path = path.parent / path.readlink()
    return None


def file_type(path: Path) -> int | None:
    """Ask what ``path`` is.

    Args:
        path: a destination.

    Returns:
        One of the ``S_IF`` constants of ``stat``, None where nothing is.

    Raises:
        UsageError: when nobody can look at it.
    """
    try:
        return stat.S_IFMT(path.stat().st_mode)
    except FileNotFoundError:
        return None
    except OSError as exc:
        raise UsageError(f"cannot write {path}: {exc.strerror}") from exc


def resolve(path: Path) -> Path:
    """Follow links to what is to be written.

    Args:
        path: a destination.

    Returns:
        The path of the file or folder itself.

    Raises:
        UsageError: when they lead nowhere.
    """
    try:
        return path.resolve()
    except OSError as exc:  # the current folder is gone
        raise UsageError(f"cannot write {path}: {exc.strerror}") from exc
    except RuntimeError as exc:  # before Python 3.13
        raise UsageError(f"cannot write {path}: {os.strerror(errno.ELOOP)}") from exc


def refuse_unwritable(path: Path) -> None:
    """Refuse what is not to be replaced by a file, although a rename would.

    Args:
        path: a destination.

    Raises:
        UsageError: for a folder, a device or pipe, and a write-protected file.
    """
    kind = file_type(path)
    if kind is None:
        return
    if kind == stat.S_IFDIR:
        raise UsageError(f"{path} is a folder; give the name of a file to write")
    if kind != stat.S_IFREG:
        raise UsageError(f"{path} is a device or pipe; give the name of a file to write")
    if not os.access(path, os.W_OK):
        raise UsageError(f"cannot write {path}: it is write-protected")


def close_quietly(stream: IO[bytes]) -> None:
    """Close what is given up anyway."""
    with suppress(OSError):
        stream.close()


def is_folder_or_pattern(source: Path) -> bool:
    """Tell whether a source is a folder or a pattern rather than one table."""
    # What cannot be looked at is no folder; opening it says why. A path would raise here.
    if source == STANDARD_STREAM or os.path.isfile(source):  # noqa: PTH113
        return False
    return os.path.isdir(source) or bool(WILDCARDS & set(str(source)))  # noqa: PTH112


def check_distinct(source: Path, out: Path, *beside: Path | None) -> None:
    """Refuse to write over what is being read, or two outputs into one file.

    Args:
        source: what is read.
        out: where the rows go.
        *beside: other outputs.

    Raises:
        UsageError: when two of them are one file, by whatever name.
    """
    read = _identity(source, Path("/dev/stdin"))
    outputs = [out, *(path for path in beside if path)]
    seen: dict[object, Path] = {}
    for path in outputs:
        identity = _identity(path, Path("/dev/stdout"))
        if read is not None and identity == read:
            raise UsageError(f"{path} is the input; give another name to write to")
        for key in {identity, os.path.realpath(path)} - {None}:
            if seen.setdefault(key, path) is not path and not is_special(path):
                raise UsageError(f"{path} is written twice; give each output a name of its own")


def _identity(path: Path, standard: Path) -> tuple[int, int] | None:
    """Device and inode of a regular file, ``standard`` for ``-``; None for anything else."""
    try:
        state = (standard if path == STANDARD_STREAM else path).stat()
    except OSError:
        return None
    return (state.st_dev, state.st_ino) if stat.S_ISREG(state.st_mode) else None
