"""Folders that appear whole, and files in a folder that appear together.

Raises ``UsageError`` for a destination that cannot be one and ``DataError`` when writing fails.
"""

from __future__ import annotations

import errno
import os
import stat
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING

from runtime.errors import UsageError
from runtime.io.durable import sync_folder, sync_tree
from runtime.io.paths import (
    close_quietly,
    file_type,
    refuse_unwritable,
    resolve,
)
from runtime.io.replace import merge_folder, rename_folder, replace_folder
from runtime.io.streams import translate_write_errors
from runtime.io.temporary import partial_folder, sweep

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


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
    path = resolve(path)
    if Path.cwd().is_relative_to(path):
        raise UsageError(f"{path} is the folder you are in, or above it; name another to write")
    with _partial_folder(path, path) as partial, translate_write_errors(path):
        yield partial
        sync_tree(partial)
        replace_folder(partial, path)
        sync_folder(path.parent)


@contextmanager
def staged_files(folder: Path) -> Iterator[Callable[[Path | str], IO[bytes]]]:
    """Open files of one folder that appear when the block ends without an error.

    A folder that does not exist appears as a whole. In one that does, each file takes its place
    by a rename, one after the other, and other files stay; when one cannot, none does.

    Args:
        folder: destination; missing parents are made.

    Yields:
        What opens one more file, named by its path relative to ``folder``, subfolders allowed.
        The block may close what it opens and should, where there are many.

    Raises:
        UsageError: when ``folder`` is not one or cannot be written, or a file cannot be one.
        DataError: when writing fails, for example on a full disk.
    """
    if file_type(folder) not in {None, stat.S_IFDIR}:
        raise UsageError(f"{folder} is a file; give the name of a folder to write")
    given, folder = folder, resolve(folder)
    exists = folder.exists()
    with _partial_folder(folder / folder.name if exists else folder, given) as partial:
        streams: list[IO[bytes]] = []
        with ExitStack() as stack, translate_write_errors(given):

            def open_output(path: Path | str) -> IO[bytes]:
                stream = _open_staged(partial, folder, Path(path))
                stack.callback(close_quietly, stream)
                streams.append(stream)
                return stream

            yield open_output
            for stream in streams:
                stream.close()
            sync_tree(partial)
        if exists or not rename_folder(partial, folder):
            merge_folder(partial, folder)
        sync_folder(folder.parent)
    sweep(folder)


def _open_staged(partial: Path, folder: Path, path: Path) -> IO[bytes]:
    if path.is_absolute() or ".." in path.parts or not path.parts:
        raise UsageError(f"{path} is not a path within {folder}")
    target = resolve(folder / path)
    refuse_unwritable(target)
    _refuse_unreachable(target, partial)
    try:
        (partial / path).parent.mkdir(parents=True, exist_ok=True)
        return (partial / path).open("xb")
    except FileExistsError as exc:
        raise UsageError(
            f"{folder / path} is written twice; give each output its own name"
        ) from exc
    except OSError as exc:
        raise UsageError(f"cannot write {folder / path}: {exc.strerror}") from exc


def _refuse_unreachable(target: Path, partial: Path) -> None:
    """Refuse a place that ``partial`` cannot be renamed to, before any work is done."""
    home = next(folder for folder in target.parents if folder.exists())
    if not os.access(home, os.W_OK | os.X_OK):
        raise UsageError(f"cannot write into {home}: {os.strerror(errno.EACCES)}")
    if home.stat().st_dev != partial.stat().st_dev:
        raise UsageError(f"{target} is on another file system: write it in a run of its own")


@contextmanager
def _partial_folder(path: Path, given: Path) -> Iterator[Path]:
    with ExitStack() as stack:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            partial = stack.enter_context(partial_folder(path))
        except OSError as exc:
            raise UsageError(f"cannot write {given}: {exc.strerror}") from exc
        yield partial


def _check_replaceable(path: Path, marker: str) -> None:
    kind = file_type(path)
    if kind is None:
        return
    if kind != stat.S_IFDIR:
        raise UsageError(f"{path} is a file; give the name of a folder to write")
    if not (path / marker).exists() and any(path.iterdir()):
        raise UsageError(
            f"{path} holds other files and no {marker}: it is not replaced; "
            "choose another folder or empty this one"
        )
