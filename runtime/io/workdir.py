"""Working folders that outlive their process, so that another can resume the work.

That of ``run`` is ``run.partial`` next to it, locked while in use.
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

_MAX_TRIES = 20  # another process may remove its folder just before it is locked


def workdir_path(path: Path) -> Path:
    """Return the path of a destination's working folder."""
    target = resolve(path)
    return target.with_name(f"{target.name}.partial")


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
    for _ in range(_MAX_TRIES):
        folder.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(folder, os.O_RDONLY)
        locked = try_lock(descriptor)
        if locked is None or (locked and is_at(folder, descriptor)):
            return descriptor
        os.close(descriptor)
        if locked is False:
            return None
    return None
