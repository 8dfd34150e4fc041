"""Run a command: streams, signals, errors and exit codes."""

from __future__ import annotations

import atexit
import io
import os
import signal
import sys
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, NoReturn

from runtime.errors import EXIT_BUG, EXIT_INTERRUPTED, OnnxferryError, UnavailableError
from runtime.io.streams import translate_write_errors

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from types import FrameType


_TRAIN_EXTRA = frozenset({"onnx", "onnxscript", "safetensors", "tensorboard", "torch"})
_EXIT_SIGTERM = 128 + signal.SIGTERM
_EXIT_SIGPIPE = 128 + signal.SIGPIPE


def run(app: Callable[..., object], name: str) -> NoReturn:
    """Run a command line and end the process with the documented exit code."""
    ending = _Ending()
    atexit.register(ending.leave)  # the first to be registered is the last to run
    interrupts = _watch_signals()
    _prepare_streams()
    try:
        _call(app, name, interrupts)
    except SystemExit as exc:
        ending.code = int(exc.code or 0)
        raise


def _call(app: Callable[..., object], name: str, interrupts: Sequence[int]) -> NoReturn:
    """Turn what the commands raise into one message and an exit code."""
    try:
        app(prog_name=name)
    except OnnxferryError as exc:
        _fail(name, exc)
    except KeyboardInterrupt:
        sys.exit(EXIT_INTERRUPTED)
    except ModuleNotFoundError as exc:
        if exc.name is None or exc.name.partition(".")[0] not in _TRAIN_EXTRA:
            raise
        _fail(name, _missing_extra(name, exc.name))
    except Exception:
        if interrupts:  # libraries turn an interruption into errors of their own
            sys.exit(EXIT_INTERRUPTED)
        raise
    sys.exit(0)


class _Ending:
    """Ends the process while the interpreter is whole.

    Threads of pyarrow and onnxruntime may still want its lock to let go of an object; where it
    is being taken down that aborts the process, and a run that was fine fails. It is also quicker.
    """

    def __init__(self) -> None:
        self.code = EXIT_BUG

    def leave(self) -> NoReturn:
        """End with the exit code; what cannot be flushed now is a failure, too."""
        for stream in (sys.stdout, sys.stderr):
            try:
                stream.flush()
            except OSError:
                self.code = self.code or EXIT_BUG
        os._exit(self.code)


def log(text: str = "") -> None:
    """Write a line to stderr; a closed stderr is no failure.

    Text and line break are one write, also where Python does not buffer: lines of several
    processes stay apart.
    """
    with suppress(OSError):
        print(f"{text}\n", end="", file=sys.stderr, flush=True)  # noqa: T201 - this is where the commands speak


def echo(text: str) -> None:
    """Print a result, on stdout."""
    with exit_on_broken_pipe(), translate_write_errors("standard output"):
        print(text, flush=True)  # noqa: T201 - this is where the commands answer


def compact_json(values: Mapping[str, object]) -> str:
    """Write one JSON object on one line, for machines, in ASCII."""
    import json

    return json.dumps(values, separators=(",", ":"))


def indented_json(content: bytes) -> str:
    """Write JSON on many lines, in plain ASCII likewise: DEL and the codes after it are legal."""
    import json

    return json.dumps(json.loads(content), indent=2)


@contextmanager
def exit_on_broken_pipe() -> Iterator[None]:
    """End quietly, as other filters do, when the reader of stdout goes away (``| head``)."""
    try:
        yield
        sys.stdout.flush()
    except (BrokenPipeError, ConnectionResetError):  # a pipe's reader, a socket's
        _settle_stdout()
        sys.exit(_EXIT_SIGPIPE)


def _fail(name: str, error: OnnxferryError) -> NoReturn:
    prefix = f"{name}: error:"
    if sys.stderr.isatty() and "NO_COLOR" not in os.environ:
        prefix = f"\033[1;31m{prefix}\033[0m"
    from runtime.printable import printable_lines

    log(f"{prefix} {printable_lines(str(error))}")
    _settle_stdout()
    sys.exit(error.exit_code)


def _settle_stdout() -> None:
    """Drop what cannot be flushed: the interpreter would try at its exit, and complain."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _prepare_streams() -> None:
    """Make the standard streams writable, also where the caller closed or changed them."""
    # Closed by the caller (``>&-``): taken, lest an output file take the number and the text.
    # Stdout is opened for reading, so that writing an answer fails as for any other program.
    for name, mode, flags in (
        ("stdin", "r", os.O_RDONLY),
        ("stdout", "w", os.O_RDONLY),
        ("stderr", "w", os.O_WRONLY),
    ):
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(os.open(os.devnull, flags), mode))
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a terminal that lacks a sign shows its number
            stream.reconfigure(errors="backslashreplace")


def _missing_extra(name: str, module: str) -> UnavailableError:
    from runtime.session import is_installed

    build = "cpu" if is_installed("onnxruntime") else "gpu"  # never both
    return UnavailableError(
        f'{name} needs {module}, which is not installed: pip install "onnxferry[train,{build}]"'
    )


def _watch_signals() -> list[int]:
    """Leave by an exception on SIGTERM and SIGINT, so that temporary outputs are removed."""
    interrupts: list[int] = []

    def interrupt(number: int, _frame: FrameType | None) -> NoReturn:
        interrupts.append(number)
        raise KeyboardInterrupt

    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # not where it is ignored
        signal.signal(signal.SIGINT, interrupt)
    signal.signal(signal.SIGTERM, _end_on_sigterm)
    return interrupts


def _end_on_sigterm(_signal: int, _frame: FrameType | None) -> NoReturn:
    """Leave by an exception, so that temporary outputs are removed."""
    sys.exit(_EXIT_SIGTERM)
