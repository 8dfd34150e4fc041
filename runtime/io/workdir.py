"""A folder of work that outlives its process, so that another can take it up.

It lies beside its destination, ``run.partial`` beside ``run``, and is locked while somebody works
in it. Raises ``UsageError`` where it cannot be made or another process holds it.
"""

from __future__ import annotations

import os
import shutil
from contextlib import contextmanager
from typing import TYPE_CHECKING

from runtime.errors import UsageError
from runtime.io.paths import resolve
from runtime.io.temporary import is_at, try_lock

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_MOST_TRIES = 20  # another process may remove its folder just before it is locked


def workdir_path(path: Path) -> Path:
    """Name the folder of work on ``path``.

    Args:
        path: destination.

    Returns:
        Its sibling.
    """
    target = resolve(path)
    return target.with_name(f"{target.name}.partial")


@contextmanager
def locked_workdir(path: Path) -> Iterator[Path]:
    """Hold the folder of work on ``path``, with what is in it.

    Args:
        path: destination; missing parents are made.

    Yields:
        The folder; it stays unless the block removes it with ``remove_workdir``.

    Raises:
        UsageError: when it cannot be made, or another process works in it.
    """
    folder = workdir_path(path)
    try:
        descriptor = _open(folder)
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
    """Remove a folder of work, or as much of it as goes."""
    shutil.rmtree(folder, ignore_errors=True)


def clear_workdir(folder: Path) -> None:
    """Remove all that is in a folder."""
    for path in folder.iterdir():
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()


def _open(folder: Path) -> int | None:
    """Make the folder where it is missing, and lock it; None where another process has."""
    for _ in range(_MOST_TRIES):
        folder.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(folder, os.O_RDONLY)
        locked = try_lock(descriptor)
        if locked is None or (locked and is_at(folder, descriptor)):
            return descriptor
        os.close(descriptor)
        if locked is False:
            return None
    return None
