"""Where a table comes from and where its answers go.

In: paths, ``-`` for the standard streams. Out: streams. Raises ``UsageError`` for places that do
not fit together and ``DataError`` for a table that cannot be opened.
"""

from __future__ import annotations

import io
import os
import stat
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from runtime.errors import DataError, UsageError
from runtime.files.atomic import STANDARD_STREAM, atomic_files, is_special, writing
from runtime.files.patient import standard_output
from runtime.value import Value

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from runtime.scoring.options import Options
    from runtime.tables.csv.reader import Source
    from runtime.tables.stored.stored import ByteSink


WILDCARDS = frozenset("*?[")


class Sink(Value, frozen=True):
    """An output and its name: with two of them open, it must be clear which one fails.

    Attributes:
        name: for messages.
        stream: what is written to.
    """

    name: str
    stream: ByteSink

    def write(self, data: bytes | memoryview) -> None:
        """Write; a full disk is a ``DataError`` that names this output."""
        with writing(self.name):
            self.stream.write(data)

    def flush(self) -> None:
        """Hand everything to the system; errors as in ``write``."""
        with writing(self.name):
            self.stream.flush()


def is_many(source: Path) -> bool:
    """Tell whether a source is a folder or a pattern rather than one table."""
    # What cannot be looked at is no folder; opening it says why. A path would raise here.
    if source == STANDARD_STREAM or os.path.isfile(source):  # noqa: PTH113
        return False
    return os.path.isdir(source) or bool(WILDCARDS & set(str(source)))  # noqa: PTH112


def refuse_same(source: Path, out: Path, *beside: Path | None) -> None:
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


def rejects_path(out: Path, options: Options) -> Path | None:
    """Settle where rejected rows are listed.

    Args:
        out: where the rows go.
        options: of the scoring.

    Returns:
        The file; None when bad rows are not rejected.

    Raises:
        UsageError: when no file can stand beside the output.
    """
    if options.bad_rows != "reject":
        return None
    beside = options.rejects is None
    if options.rejects == STANDARD_STREAM or (
        beside and (out == STANDARD_STREAM or is_special(out))
    ):
        raise UsageError(
            "--bad-rows reject lists bad rows in a file beside the output: "
            "give --out FILE or --rejects FILE"
        )
    return options.rejects or out.parent / f"{out.name}.rejects.csv"


def _identity(path: Path, standard: Path) -> tuple[int, int] | None:
    """Device and inode of a regular file, ``standard`` for ``-``; None for anything else."""
    try:
        state = (standard if path == STANDARD_STREAM else path).stat()
    except OSError:
        return None
    return (state.st_dev, state.st_ino) if stat.S_ISREG(state.st_mode) else None


def source_name(source: Path) -> str:
    """Name a source for messages."""
    return "standard input" if source == STANDARD_STREAM else str(source)


def describe_loss(out: Path) -> str:
    """Say what becomes of an output when scoring fails."""
    if out == STANDARD_STREAM:
        return "the output is incomplete"
    return f"{out} was not written"


@contextmanager
def open_source(source: Path) -> Iterator[Source]:
    """Open a table for reading, unbuffered; ``-`` is standard input.

    Args:
        source: the table.

    Yields:
        Where its bytes come from.

    Raises:
        DataError: when it cannot be opened.
    """
    if source == STANDARD_STREAM:
        yield io.FileIO(sys.stdin.fileno(), closefd=False)
        return
    try:
        stream = source.open("rb", buffering=0)
    except OSError as exc:
        raise DataError(f"cannot read {source}: {exc.strerror}; give the path of a table") from exc
    with stream:
        yield stream


@contextmanager
def open_sinks() -> Iterator[Callable[[Path], Sink]]:
    """Open outputs that appear together when the block ends without an error.

    Yields:
        What opens one more; ``-`` is standard output. The output opened first appears last.
    """
    with atomic_files() as open_file:

        def open_sink(path: Path) -> Sink:
            if path == STANDARD_STREAM:
                return Sink("standard output", standard_output())
            return Sink(str(path), open_file(path))

        yield open_sink
