"""Outputs that appear whole or not at all.

A file or folder is written under a temporary name beside its destination, flushed to the
disk and then renamed, so that an interruption at any moment leaves the destination as it was.
What a killed run left is removed by the next run to the same destination. Raises ``UsageError``
for a destination that cannot be one and ``DataError`` when writing fails.
"""

from __future__ import annotations

import io
import os
from contextlib import ExitStack, contextmanager
from typing import IO, TYPE_CHECKING

from runtime.errors import UsageError
from runtime.io.paths import (
    close_quietly,
    is_special,
    own_descriptor,
    refuse_unwritable,
    resolve,
)
from runtime.io.replace import publish
from runtime.io.streams import WriteAllFile, translate_write_errors
from runtime.io.temporary import partial_file
from runtime.value import Value

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


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
    with atomic_files() as open_output:
        yield open_output(path)


@contextmanager
def atomic_files() -> Iterator[Callable[[Path], IO[bytes]]]:
    """Open files that appear together, complete, when the block ends without an error.

    All are on the disk before the first is renamed. The one opened first is renamed last: who
    sees it finds the others beside it. When one cannot take its place, none does.

    Yields:
        What opens one more destination, with the arguments, result and errors of ``atomic_file``.
        The block need not close what it opens.

    Raises:
        DataError: when writing fails, for example on a full disk.
    """
    outputs: list[_Output] = []
    with ExitStack() as stack:

        def open_output(path: Path) -> IO[bytes]:
            output = _open_output(path, stack)
            if output.partial and output.target in {other.target for other in outputs}:
                raise UsageError(f"{path} is written twice; give each output its own name")
            outputs.append(output)
            return output.stream

        try:
            yield open_output
        except OSError:
            with translate_write_errors(" or ".join(str(output.given) for output in outputs)):
                raise
        for output in outputs:
            output.finish()
        publish([(output.partial, output.target) for output in reversed(outputs) if output.partial])


class _Output(Value, frozen=True):
    """An open destination.

    Attributes:
        given: its name for messages.
        target: what it names, links followed.
        stream: what is written to.
        partial: what is renamed to ``target``; None for what is written in place.
        descriptor: of ``partial``, with its lock; not that of ``stream``, which may be closed.
    """

    given: Path
    target: Path
    stream: IO[bytes]
    partial: Path | None = None
    descriptor: int | None = None

    def finish(self) -> None:
        """Bring what was written to the disk."""
        with translate_write_errors(self.given):
            self.stream.close()
            if self.descriptor is not None:
                os.fsync(self.descriptor)


def _open_output(path: Path, stack: ExitStack) -> _Output:
    """Open a destination for as long as ``stack`` lasts."""
    if is_special(path):
        output = _Output(path, path, _open_in_place(path))
    else:
        target = resolve(path)  # through a link: the file it names is replaced, the link stays
        refuse_unwritable(target)
        try:
            partial, descriptor = stack.enter_context(partial_file(target))
        except OSError as exc:
            raise UsageError(f"cannot write into {target.parent}: {exc.strerror}") from exc
        stream = os.fdopen(os.dup(descriptor), "wb")
        output = _Output(path, target, stream, partial, descriptor)
    stack.callback(close_quietly, output.stream)
    return output


def _open_in_place(path: Path) -> IO[bytes]:
    descriptor = own_descriptor(path)
    try:
        # Opened anew, a file behind /dev/stdout would be emptied, and written from its start.
        return io.BufferedWriter(
            WriteAllFile(path if descriptor is None else os.dup(descriptor), "wb")
        )
    except OSError as exc:
        raise UsageError(f"cannot write into {path}: {exc.strerror}") from exc
