"""Classify and check paths: standard streams, devices, files, folders and patterns."""

from __future__ import annotations

import errno
import os
import stat
from contextlib import suppress
from pathlib import Path

from runtime.errors import UsageError

STANDARD_STREAM = Path("-")
WILDCARDS = frozenset("*?[")
_MAX_LINKS = 40  # as in Linux


def is_special(path: Path) -> bool:
    """Return whether a path is written in place: a device, a pipe, or one like ``/dev/stdout``."""
    replaceable = {None, stat.S_IFREG, stat.S_IFDIR}
    return descriptor_number(path) is not None or file_type(path) not in replaceable


def is_folder_or_pattern(source: Path) -> bool:
    """Return whether a source is a folder or a pattern rather than one table."""
    # os.path is False for what cannot be inspected, where a Path would raise; opening it explains.
    if source == STANDARD_STREAM or os.path.isfile(source):  # noqa: PTH113
        return False
    return os.path.isdir(source) or bool(WILDCARDS & set(str(source)))  # noqa: PTH112


def descriptor_number(path: Path) -> int | None:
    """Return the file descriptor that a path such as ``/dev/stdout`` names, if any."""
    with suppress(OSError):
        for _ in range(_MAX_LINKS):
            if path.name.isdigit() and os.path.realpath(path.parent) == os.path.realpath("/dev/fd"):
                return int(path.name)
            path = path.parent / path.readlink()
    return None


def file_type(path: Path) -> int | None:
    """Return the file type of a destination, one of ``stat.S_IF…``; None if it does not exist."""
    try:
        return stat.S_IFMT(path.stat().st_mode)
    except FileNotFoundError:
        return None
    except OSError as exc:
        raise UsageError(f"cannot write {path}: {exc.strerror}") from exc


def resolve(path: Path) -> Path:
    """Resolve the links of a destination."""
    try:
        return path.resolve()
    except OSError as exc:  # the current folder was deleted
        raise UsageError(f"cannot write {path}: {exc.strerror}") from exc
    except RuntimeError as exc:  # a link to itself, before Python 3.13
        raise UsageError(f"cannot write {path}: {os.strerror(errno.ELOOP)}") from exc


def check_replaceable(path: Path) -> None:
    """Reject a folder, a device and a write-protected file, although a rename would work."""
    kind = file_type(path)
    if kind is None:
        return
    if kind == stat.S_IFDIR:
        raise UsageError(f"{path} is a folder; give the name of a file to write")
    if kind != stat.S_IFREG:
        raise UsageError(f"{path} is a device or pipe; give the name of a file to write")
    if not os.access(path, os.W_OK):
        raise UsageError(f"cannot write {path}: it is write-protected")


def check_distinct(source: Path, out: Path, *others: Path | None) -> None:
    """Reject to overwrite the input, or to write two outputs into one file, by any name."""
    input_id = _identity(source, Path("/dev/stdin"))
    outputs = [out, *(path for path in others if path)]
    seen: dict[object, Path] = {}
    for path in outputs:
        identity = _identity(path, Path("/dev/stdout"))
        if input_id is not None and identity == input_id:
            raise UsageError(f"{path} is the input; give another name to write to")
        for key in {identity, os.path.realpath(path)} - {None}:
            if seen.setdefault(key, path) is not path and not is_special(path):
                raise UsageError(f"{path} is written twice; give each output its own name")


def _identity(path: Path, standard: Path) -> tuple[int, int] | None:
    """Return device and inode of a regular file, ``standard`` for ``-``; None otherwise."""
    try:
        state = (standard if path == STANDARD_STREAM else path).stat()
    except OSError:
        return None
    return (state.st_dev, state.st_ino) if stat.S_ISREG(state.st_mode) else None
