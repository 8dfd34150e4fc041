"""What the commands of all three packages say, and how they end.

Results go to stdout, talk and progress to stderr. ``run`` turns the error tree into one
message and the documented exit code; anything else is a bug of ours and keeps its traceback.
"""

from __future__ import annotations

import os
import signal
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import msgspec

from runtime.errors import EXIT_INTERRUPTED, OnnxferryError, UnavailableError
from runtime.files import writing

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from types import FrameType

    import typer

_TRAIN_EXTRA = frozenset({"onnx", "onnxscript", "safetensors", "tensorboard", "torch"})
_EXIT_SIGTERM = 128 + signal.SIGTERM
_EXIT_SIGPIPE = 128 + signal.SIGPIPE


def run(app: typer.Typer, name: str) -> NoReturn:
    """Run a command line and end the process with the documented exit code.

    Args:
        app: the commands.
        name: what the user typed, for usage lines and messages.

    Raises:
        SystemExit: always.
    """
    signal.signal(signal.SIGTERM, _end_on_sigterm)
    _fill_closed_streams()
    try:
        app(prog_name=name)
    except OnnxferryError as exc:
        _fail(name, exc)
    except ModuleNotFoundError as exc:
        if exc.name is None or exc.name.partition(".")[0] not in _TRAIN_EXTRA:
            raise
        _fail(name, _missing_extra(name, exc.name))
    except KeyboardInterrupt:
        sys.exit(EXIT_INTERRUPTED)
    sys.exit(0)


def say(text: str = "") -> None:
    """Tell a person something, on stderr."""
    print(text, file=sys.stderr, flush=True)  # noqa: T201 - this is where the commands speak


def show(text: str) -> None:
    """Print a result, on stdout."""
    with until_reader_leaves(), writing("standard output"):
        print(text, flush=True)  # noqa: T201 - this is where the commands answer


def as_json(values: Mapping[str, object]) -> str:
    """Write one JSON object on one line, for machines."""
    return msgspec.json.encode(values).decode()


@contextmanager
def until_reader_leaves() -> Iterator[None]:
    """End quietly, as other filters do, when the reader of stdout goes away (``| head``)."""
    try:
        yield
        sys.stdout.flush()
    except BrokenPipeError:
        _settle_stdout()
        sys.exit(_EXIT_SIGPIPE)


def _fail(name: str, error: OnnxferryError) -> NoReturn:
    prefix = f"{name}: error:"
    if sys.stderr.isatty() and "NO_COLOR" not in os.environ:
        prefix = f"\033[1;31m{prefix}\033[0m"
    say(f"{prefix} {error}")
    _settle_stdout()
    sys.exit(error.exit_code)


def _settle_stdout() -> None:
    """Drop what cannot be flushed: the interpreter would try at its exit, and complain."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _fill_closed_streams() -> None:
    """Open what the caller closed (``>&-``), lest an output file take its number and its text."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, Path(os.devnull).open(mode))  # noqa: SIM115 - for good


def _missing_extra(name: str, module: str) -> UnavailableError:
    return UnavailableError(
        f'{name} needs {module}, which is not installed: pip install "onnxferry[train,gpu]" '
        '(or "onnxferry[train,cpu]" where there is no onnxruntime-gpu)'
    )


def _end_on_sigterm(_signal: int, _frame: FrameType | None) -> NoReturn:
    """Leave by an exception, so that temporary outputs are removed."""
    sys.exit(_EXIT_SIGTERM)
