"""Atomic writes of one file or several together.

A file is written under a temporary name next to its destination, synced and renamed, so that an
interruption at any moment leaves the destination unchanged. An object of a store is an upload until
it is completed.
"""

from __future__ import annotations

import io
import os
import stat
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING, cast

from runtime.errors import DataError, UsageError
from runtime.io.paths import (
    STANDARD_STREAM,
    check_replaceable,
    descriptor_number,
    existing_error,
    is_special,
    resolve,
)
from runtime.io.streams import WriteAllFile, translate_write_errors
from runtime.io.temporary import temporary_name, temporary_sibling
from runtime.value import Value

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from runtime.io.paths import Location
    from runtime.io.stores.object_path import ObjectPath
    from runtime.io.stores.writing import ObjectWriter


@contextmanager
def atomic_file(path: Location, *, replaces: bool = True) -> Iterator[IO[bytes]]:
    """Open a file that appears, complete, when the block succeeds.

    A device or pipe is written in place. Raises ``UsageError`` for an impossible destination and
    ``DataError`` when writing fails, for example on a full disk.
    """
    with atomic_files(replaces=replaces) as open_output:
        yield open_output(path)


@contextmanager
def atomic_files(*, replaces: bool = True) -> Iterator[Callable[[Location], IO[bytes]]]:
    """Open files that appear together, complete, when the block succeeds.

    All are synced before the first is renamed; a failed rename undoes those before it. The file
    opened first is renamed last: a reader that sees it also finds the others. Objects are
    completed before files are renamed, since that fails more often, and in the same order.

    Unless it ``replaces``, a file that exists, or that another process makes meanwhile, stays: an
    ``ExistsError``.
    """
    outputs: list[_Output] = []
    objects: list[ObjectWriter] = []
    with ExitStack() as stack:

        def open_output(path: Location) -> IO[bytes]:
            if not isinstance(path, Path):
                return open_object(path)
            output = _open_output(path, stack)
            if output.temporary and output.target in {other.target for other in outputs}:
                raise UsageError(f"{path} is written twice; give each output its own name")
            if output.temporary and not replaces and os.path.lexists(output.target):
                raise existing_error(path)
            outputs.append(output)
            return output.stream

        def open_object(path: ObjectPath) -> IO[bytes]:
            from runtime.io.stores.writing import ObjectWriter

            if path in {other.path for other in objects}:
                raise UsageError(f"{path} is written twice; give each output its own name")
            writer = ObjectWriter(path, replaces=replaces)
            stack.callback(writer.close)
            objects.append(writer)
            return cast("IO[bytes]", writer)

        try:
            yield open_output
        except OSError:
            with translate_write_errors(" or ".join(str(output.given) for output in outputs)):
                raise
        for output in outputs:
            with translate_write_errors(output.given):
                output.stream.close()
                if output.descriptor is not None:
                    os.fsync(output.descriptor)
        moves = [(out.temporary, out.target) for out in reversed(outputs) if out.temporary]
        with _published(objects[::-1]):
            (publish if replaces else publish_new)(moves)


def check_writable(*paths: Location | None) -> None:
    """Refuse outputs that cannot be written, before the hours of work that they are for.

    Raises ``UsageError`` for an impossible destination, and errors of its store.
    """
    for path in paths:
        if path is None or path == STANDARD_STREAM or is_special(path):
            continue
        with ExitStack() as stack:
            if isinstance(path, Path):
                _open_output(path, stack)
                continue
            from runtime.io.stores.writing import ObjectWriter

            ObjectWriter(path).close()


@contextmanager
def _published(objects: Sequence[ObjectWriter]) -> Iterator[None]:
    """Complete uploads in this order; those that replaced nothing are undone when others fail."""
    made: list[ObjectPath] = []
    try:
        made.extend(writer.path for writer in objects if not writer.publish())
        yield
    except BaseException:
        if made:
            from runtime.io.stores.writing import delete_quietly

            for path in made:
                delete_quietly(path)
        raise


def publish(moves: Sequence[tuple[Path, Path]]) -> None:
    """Rename synced files to their targets in this order, or none of them.

    A failure before the last rename is undone. Without hard links, files that were already replaced
    stay replaced.
    """
    if not moves:
        return
    *undoable, (last, _) = moves
    backups = {
        target: new.with_name(temporary_name(target).name)
        for new, target in undoable
        if target.exists()
    }
    try:
        for new, target in moves:
            with translate_rename_errors(target):
                with suppress(FileNotFoundError):  # keeps the permissions
                    new.chmod(stat.S_IMODE(target.stat().st_mode))
                if target in backups:
                    with suppress(OSError):
                        os.link(target, backups[target])
                new.replace(target)
    except BaseException:
        if last.exists():
            for new, target in reversed(undoable):
                if not new.exists():  # renamed, also when an interrupt came just after
                    _restore(target, backups.get(target))
        raise
    finally:
        for backup in backups.values():
            with suppress(OSError):
                backup.unlink()
    for folder in {target.parent for _, target in moves}:
        sync_folder(folder)


def publish_new(moves: Sequence[tuple[Path, Path]]) -> None:
    """Give files their names where there are none, all or no one of them."""
    made: list[Path] = []
    try:
        for new, target in moves:
            with translate_rename_errors(target):
                try:
                    os.link(new, target)
                except FileExistsError as exc:
                    raise existing_error(target) from exc
            made.append(target)
    except BaseException:
        for target in made:
            with suppress(OSError):
                target.unlink()
        raise
    for folder in {target.parent for _, target in moves}:
        sync_folder(folder)


@contextmanager
def translate_rename_errors(target: Path) -> Iterator[None]:
    """Raise ``DataError`` that names the target when a rename fails."""
    try:
        yield
    except OSError as exc:
        raise DataError(f"cannot write {target}: {exc.strerror}") from exc


def sync_folder(folder: Path) -> None:
    """Make renames in a folder outlive a loss of power, where the file system can."""
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def close_quietly(stream: IO[bytes]) -> None:
    """Close a stream whose content is discarded or already synced."""
    with suppress(OSError):
        stream.close()


def _restore(target: Path, backup: Path | None) -> None:
    with suppress(OSError):
        if backup is None:
            target.unlink()
        else:
            backup.replace(target)


class _Output(Value, frozen=True):
    """An open destination; without a temporary file if it is written in place."""

    given: Path  # for messages
    target: Path  # links followed
    stream: IO[bytes]
    temporary: Path | None = None
    descriptor: int | None = None  # of ``temporary``, with its lock; ``stream`` may be closed


def _open_output(path: Path, stack: ExitStack) -> _Output:
    """Open a destination; ``stack`` closes it."""
    if is_special(path):
        output = _Output(path, path, _open_in_place(path))
    else:
        target = resolve(path)  # through a link: the file it names is replaced, the link stays
        check_replaceable(target)
        try:
            temporary, descriptor = stack.enter_context(temporary_sibling(target))
        except OSError as exc:
            raise UsageError(f"cannot write into {target.parent}: {exc.strerror}") from exc
        stream = os.fdopen(os.dup(descriptor), "wb")
        output = _Output(path, target, stream, temporary, descriptor)
    stack.callback(close_quietly, output.stream)
    return output


def _open_in_place(path: Path) -> IO[bytes]:
    number = descriptor_number(path)
    try:
        # Opened by name, a file behind /dev/stdout would be truncated.
        return io.BufferedWriter(WriteAllFile(path if number is None else os.dup(number), "wb"))
    except OSError as exc:
        raise UsageError(f"cannot write into {path}: {exc.strerror}") from exc
