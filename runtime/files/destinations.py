"""What a destination is, and what the system says when it cannot be written.

Raises ``UsageError`` for a destination that cannot be one and ``DataError`` when writing fails.
"""

from __future__ import annotations

import errno
import os
import stat
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from runtime.errors import DataError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import IO

STANDARD_STREAM = Path("-")
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_FAULTS = _FULL | {errno.EIO, errno.EROFS, errno.EBADF}
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
