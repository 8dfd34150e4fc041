"""What the commands show while they run: progress on stderr, and what an interrupt left."""

from __future__ import annotations

import ctypes
import os
import sys
from contextlib import contextmanager, redirect_stdout
from typing import TYPE_CHECKING, Final

from runtime.errors import UsageError
from runtime.notebook import is_notebook, notebook_bar
from runtime.printable import printable
from runtime.surfaces import option

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from rich.progress import ProgressColumn

    from exporter.progress import OnProgress, Progress
    from runtime.notebook import ShowProgress

PASSPHRASE_VARIABLE: Final = "ONNXFERRY_KEY_PASSPHRASE"  # noqa: S105 - its name
_STDOUT, _STDERR = 1, 2  # file descriptors
_NARROW: Final = 60  # columns of a terminal with a bar of ten
_WIDE: Final = 100  # with the batch size beside the backend


@contextmanager
def stdout_as_stderr() -> Iterator[None]:
    """Send what a user's module prints to stderr, C libraries of it too: stdout has the result."""
    sys.stdout.flush()
    stdout = os.dup(_STDOUT)
    os.dup2(_STDERR, _STDOUT)
    try:
        with redirect_stdout(sys.stderr):
            yield
    finally:
        ctypes.CDLL(None).fflush(None)  # what C has buffered
        os.dup2(stdout, _STDOUT)
        os.close(stdout)


@contextmanager
def progress_bar() -> Iterator[OnProgress | None]:
    """Show stage, share and remaining time in a notebook or on stderr where that is a terminal.

    Elsewhere yields None.
    """
    if is_notebook():
        with notebook_bar("exporting") as show:
            yield from _notebook_progress(show)
        return
    if not sys.stderr.isatty() or os.environ.get("TERM") == "dumb":
        yield None
        return
    from rich.console import Console
    from rich.progress import Progress as ProgressBar

    console = Console(stderr=True)
    width = console.width
    # Rich's own stand-in for stdout would send there what it prints, and stdout has the result.
    with ProgressBar(
        *_columns(width), console=console, transient=True, redirect_stdout=False
    ) as bar:
        task = bar.add_task("loading", total=None, cell="")

        def on_progress(progress: Progress) -> None:
            if bar.tasks[0].description != progress.stage:
                bar.reset(task, total=None, description=progress.stage)
            bar.update(
                task,
                completed=progress.done,
                total=progress.total or None,
                cell=_describe_cell(progress, width),
            )

        yield on_progress


def read_passphrase(key: Path, file: Path | None) -> bytes | None:
    """Read a private key's passphrase from a file, the environment or the terminal.

    Never from the command line, which others on the machine can see. None for a key that needs
    none, or where nobody can be asked. Raises ``UsageError``.
    """
    from runtime.bundle.keys import is_encrypted, read_key_file

    encrypted = is_encrypted(read_key_file(key, "key"))
    if file is not None:
        text = read_key_file(file, "passphrase_file").rstrip(b"\r\n")
        if not encrypted or not text:
            why = f"{file} is empty" if encrypted else f"is not for {key}, which is not encrypted"
            raise UsageError(f"{option('passphrase_file')} {why}")
        return text
    if not encrypted:
        return None
    if given := os.environ.get(PASSPHRASE_VARIABLE):
        return os.fsencode(given)
    return _ask_passphrase(key) if sys.stdin and sys.stdin.isatty() else None


def _ask_passphrase(key: Path) -> bytes:
    from getpass import getpass

    try:
        return getpass(f"passphrase of {printable(str(key))}: ").encode()
    except EOFError as exc:
        raise UsageError(f"no passphrase of {key} was entered") from exc


def _columns(width: int) -> tuple[ProgressColumn, ...]:
    """Choose the columns of the bar for the width of the terminal."""
    from rich.progress import BarColumn, TaskProgressColumn, TextColumn, TimeRemainingColumn

    bar = (TextColumn("{task.description:12}"), BarColumn(10 if width < _NARROW else 20))
    share = TaskProgressColumn("{task.percentage:>3.0f} %")
    if width < _NARROW:
        return (*bar, share)
    return (*bar, share, TimeRemainingColumn(), TextColumn("{task.fields[cell]}"))


def _notebook_progress(show: ShowProgress) -> Iterator[OnProgress]:
    """Show the steps of the proof, which takes nearly all of the time, in all stages."""
    steps = 0, 0

    def on_progress(progress: Progress) -> None:
        nonlocal steps
        if progress.total:
            steps = progress.done, progress.total
        show(*steps, _describe_stage(progress))

    yield on_progress
    show(*steps, "done")


def _describe_stage(progress: Progress) -> str:
    return " ".join(filter(None, (progress.stage, _describe_cell(progress, _WIDE))))


def _describe_cell(progress: Progress, width: int) -> str:
    if width < _WIDE or not progress.backend:
        return progress.backend
    return f"{progress.backend} at batch {progress.batch:,}"
