"""Atomic output folders, and groups of files in one folder that appear together.

What cannot be written is refused before any work, and files merged into an existing folder all
appear or none do. Without these two a folder would be one rename.
"""

from __future__ import annotations

import errno
import os
import stat
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING, cast

from runtime.errors import ExistsError, UsageError
from runtime.io.atomic import (
    close_quietly,
    publish,
    publish_new,
    sync_folder,
    translate_rename_errors,
)
from runtime.io.paths import check_replaceable, file_type, resolve
from runtime.io.streams import translate_write_errors
from runtime.io.temporary import remove, sweep, temporary_name, temporary_sibling
from runtime.surfaces import option

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from runtime.io.paths import Location
    from runtime.io.stores.object_path import ObjectPath
    from runtime.io.stores.writing import ObjectWriter

_RENAME_EXCHANGE = 2  # linux/fs.h
_AT_FDCWD = -100


@contextmanager
def atomic_folder(path: Path, *, marker: str) -> Iterator[Path]:
    """Write a folder that replaces ``path`` when the block succeeds.

    An existing folder that is not empty is replaced only if it contains the file ``marker``.
    Raises ``UsageError`` for an impossible destination and ``DataError`` when writing fails.
    """
    check_folder(path, marker=marker)
    path = resolve(path)
    with _temporary_folder(path, path) as temporary, translate_write_errors(path):
        yield temporary
        _sync_tree(temporary)
        _replace_folder(temporary, path)
        sync_folder(path.parent)


def may_hold_files(folder: Location) -> bool:
    """Whether ``staged_files`` writes among others: not in stores, where prefixes must be empty."""
    return isinstance(folder, Path)


@contextmanager
def staged_files(
    folder: Location, *, rows: Mapping[Path, int] | None = None, replaces: bool = True
) -> Iterator[Callable[[Path | str], IO[bytes]]]:
    """Open files of one folder, by relative path, that appear when the block succeeds.

    A new folder is renamed as a whole. In an existing one the files are renamed one by one, others
    stay, and a failed rename undoes those before it; unless it ``replaces``, one that holds files
    is refused. So is a prefix of a store that holds objects; there ``_SUCCESS`` is written last,
    with the ``rows`` of the files. Close files early if there are many.
    """
    if not isinstance(folder, Path):
        with _staged_objects(folder, {} if rows is None else rows) as open_object:
            yield open_object
        return
    given, folder = folder, resolve(folder)
    if not replaces and os.path.isdir(folder) and any(folder.iterdir()):  # noqa: PTH112 - raises nothing
        raise ExistsError(
            f"{given} holds files, and {option('no_overwrite', True)} writes nothing among them; "
            "give another folder"
        )
    if file_type(folder) not in {None, stat.S_IFDIR}:
        raise UsageError(f"{given} is a file; give the name of a folder to write")
    exists = folder.exists()
    with _temporary_folder(folder / folder.name if exists else folder, given) as temporary:
        streams: list[IO[bytes]] = []
        with ExitStack() as stack, translate_write_errors(given):

            def open_output(path: Path | str) -> IO[bytes]:
                stream = _open_staged(temporary, folder, Path(path))
                stack.callback(close_quietly, stream)
                streams.append(stream)
                return stream

            yield open_output
            for stream in streams:
                stream.close()
            _sync_tree(temporary)
        if exists or not _rename_folder(temporary, folder):
            _merge_folder(temporary, folder, replaces=replaces)
        sync_folder(folder.parent)
    sweep(folder)


@contextmanager
def _staged_objects(
    prefix: ObjectPath, rows: Mapping[Path, int]
) -> Iterator[Callable[[Path | str], IO[bytes]]]:
    """Stage objects of a prefix, and copy them to their names when all are whole."""
    from runtime.io.stores.staging import StoredStage
    from runtime.io.success import Success

    stage = StoredStage(prefix, os.urandom(8).hex())
    stage.check()
    opened: dict[str, ObjectWriter] = {}

    def open_object(path: Path | str) -> IO[bytes]:
        name = Path(path).as_posix()
        if name in opened:
            raise UsageError(f"{prefix / name} is written twice; give each output its own name")
        opened[name] = stage.open(name)
        stack.push(opened[name])
        return cast("IO[bytes]", opened[name])

    try:
        with ExitStack() as stack:
            yield open_object
        sizes = {name: writer.size for name, writer in opened.items()}
        counted = {name: rows.get(Path(name)) for name in opened}
        stage.publish({name: name for name in opened}, Success(counted, sizes))
    finally:
        stage.remove()


@contextmanager
def _temporary_folder(path: Path, given: Path) -> Iterator[Path]:
    with ExitStack() as stack:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            temporary, _ = stack.enter_context(temporary_sibling(path, folder=True))
        except OSError as exc:
            raise UsageError(f"cannot write {given}: {exc.strerror}") from exc
        yield temporary


def check_folder(path: Path, *, marker: str) -> None:
    """Refuse, with ``UsageError``, what ``atomic_folder`` does not replace."""
    target = resolve(path)  # new/../path is path, also before "new" exists
    kind = file_type(target)
    if kind is None:
        return
    if kind != stat.S_IFDIR:
        raise UsageError(f"{path} is a file; give the name of a folder to write")
    if not (target / marker).exists() and any(target.iterdir()):
        raise UsageError(
            f"{path} holds other files and no {marker}: it is not replaced; "
            "choose another folder or empty this one"
        )
    if Path.cwd().is_relative_to(target):
        raise UsageError(f"{target} is or contains the current folder; give another name to write")


def _open_staged(temporary: Path, folder: Path, path: Path) -> IO[bytes]:
    if path.is_absolute() or ".." in path.parts or not path.parts:
        raise UsageError(f"{path} is not a path within {folder}")
    target = resolve(folder / path)
    check_replaceable(target)
    _check_renamable(target, temporary)
    try:
        (temporary / path).parent.mkdir(parents=True, exist_ok=True)
        return (temporary / path).open("xb")
    except FileExistsError as exc:
        raise UsageError(
            f"{folder / path} is written twice; give each output its own name"
        ) from exc
    except OSError as exc:
        raise UsageError(f"cannot write {folder / path}: {exc.strerror}") from exc


def _check_renamable(target: Path, temporary: Path) -> None:
    """Reject a target that ``temporary`` cannot be renamed to, before any work is done."""
    existing = next(folder for folder in target.parents if folder.exists())
    if not os.access(existing, os.W_OK | os.X_OK):
        raise UsageError(f"cannot write into {existing}: {os.strerror(errno.EACCES)}")
    if existing.stat().st_dev != temporary.stat().st_dev:
        raise UsageError(f"{target} is on another file system: write it in a separate run")


def _sync_tree(folder: Path) -> None:
    for path in folder.rglob("*"):
        if path.is_file():
            with path.open("rb") as stream:
                os.fsync(stream.fileno())
        elif path.is_dir():
            sync_folder(path)
    sync_folder(folder)


def _rename_folder(new: Path, target: Path) -> bool:
    """Rename a folder; return False when ``target`` is not empty."""
    with translate_rename_errors(target):
        try:
            new.rename(target)
        except OSError as exc:
            if exc.errno not in {errno.ENOTEMPTY, errno.EEXIST}:
                raise
            return False
    return True


def _replace_folder(new: Path, target: Path) -> None:
    """Rename ``new`` to ``target``, exchanged with an existing folder."""
    if _rename_folder(new, target) or exchange(new, target):
        return
    # Without an exchange it takes two renames, between which there is no folder.
    backup = temporary_name(target, "replaced")
    try:
        with translate_rename_errors(target):
            target.rename(backup)
            new.rename(target)
    except BaseException:
        if not target.exists():
            with suppress(OSError):
                backup.rename(target)
        raise
    remove(backup)


def exchange(a: Path, b: Path) -> bool:
    """Exchange two names atomically with Linux's renameat2; return False without it."""
    import ctypes

    try:
        renameat2 = ctypes.CDLL(None, use_errno=True).renameat2
    except (OSError, AttributeError):
        return False
    result: int = renameat2(
        _AT_FDCWD, os.fsencode(a), _AT_FDCWD, os.fsencode(b), ctypes.c_uint(_RENAME_EXCHANGE)
    )
    return result == 0


def _merge_folder(new: Path, old: Path, *, replaces: bool) -> None:
    """Rename every file below ``new`` to the same path below ``old``, or none."""
    files = sorted(path for path in new.rglob("*") if path.is_file())
    moves = [(file, (old / file.relative_to(new)).resolve()) for file in files]
    missing = sorted({path for _, target in moves for path in target.parents if not path.exists()})
    try:
        for folder in missing:
            with translate_rename_errors(folder):
                folder.mkdir(exist_ok=True)
        (publish if replaces else publish_new)(moves)
    except BaseException:
        for folder in reversed(missing):
            with suppress(OSError):  # not empty: everything was renamed
                folder.rmdir()
        raise
    for folder in missing:
        sync_folder(folder.parent)
