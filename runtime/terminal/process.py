"""Run a command: streams, signals, errors and exit codes."""

from __future__ import annotations

import atexit
import io
import os
import signal
import sys
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, NoReturn, TextIO

from runtime.errors import EXIT_BUG, EXIT_INTERRUPTED, OnnxferryError, UnavailableError
from runtime.io.processors import available_processors, quota_processors
from runtime.io.streams import translate_write_errors

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from types import FrameType


_TRAIN_EXTRA = frozenset(
    {
        *("PIL", "crc32c", "jinja2", "onnx", "onnxscript", "safetensors", "tensorboard"),
        *("threadpoolctl", "torch"),
    }
)
_EXIT_SIGTERM = 128 + signal.SIGTERM
_EXIT_SIGPIPE = 128 + signal.SIGPIPE
_interrupts: list[int] = []  # signals received
_terminations: list[int] = []  # likewise
_kept: list[str] = []  # what is left of the work, for the message


def run(app: Callable[..., object], name: str) -> NoReturn:
    """Run a command line and end the process with the documented exit code."""
    limit_thread_pools()
    exit_hook = _ExitHook()
    atexit.register(exit_hook.exit)  # registered first, runs last
    _install_signal_handlers()
    _prepare_streams()
    try:
        _call(app, name)
    except SystemExit as exc:
        # Ray's native code replaces the exit that a signal has raised by one of its own.
        exit_hook.code = _EXIT_SIGTERM if _terminations else int(exc.code or 0)
        raise


def limit_thread_pools() -> None:
    """Apply a container's quota to the thread pools of pyarrow and torch, which do not know it."""
    if quota_processors() is not None:
        os.environ.setdefault("OMP_NUM_THREADS", str(available_processors()))


def _call(app: Callable[..., object], name: str) -> NoReturn:
    """Call the app; convert exceptions to a message and an exit code."""
    try:
        app(prog_name=name)
    except OnnxferryError as exc:
        _fail(name, exc)
    except KeyboardInterrupt:
        _exit_interrupted(name)
    except SystemExit as exc:
        if _interrupts and exc.code == EXIT_INTERRUPTED:  # typer converts interrupts, too
            _exit_interrupted(name)
        raise
    except ModuleNotFoundError as exc:
        if exc.name is None or exc.name.partition(".")[0] not in _TRAIN_EXTRA:
            raise
        _fail(name, _missing_extra(name, exc.name))
    except Exception:
        if _interrupts:  # libraries convert interrupts to errors of their own
            _exit_interrupted(name)
        if _terminations:
            sys.exit(_EXIT_SIGTERM)
        raise
    sys.exit(0)


@contextmanager
def on_interrupt(describe: Callable[[], str]) -> Iterator[None]:
    """Say what is left of the work in the block where Ctrl-C ends it."""
    try:
        yield
    except BaseException as exc:
        if _interrupts or isinstance(exc, KeyboardInterrupt):
            _kept.append(describe())
        raise


def exit_after_interrupt(text: str, code: int) -> NoReturn:
    """Exit with a message of one's own in place of the usual one."""
    log(text)
    _interrupts.clear()
    sys.exit(code)


def _exit_interrupted(name: str) -> NoReturn:
    from runtime.printable import printable

    log(printable("; ".join((f"{name}: interrupted", *filter(None, _kept)))))
    sys.exit(EXIT_INTERRUPTED)


class _ExitHook:
    """Exits without finalizing the interpreter, which threads of pyarrow and onnxruntime abort."""

    def __init__(self) -> None:
        self.code = EXIT_BUG

    def exit(self) -> NoReturn:
        """Exit with the code; a stream that cannot be flushed is a failure."""
        for stream in (sys.stdout, sys.stderr):
            try:
                stream.flush()
            except OSError:
                self.code = self.code or EXIT_BUG
        os._exit(self.code)


def log(text: str = "") -> None:
    """Print lines to stderr, in one write, wrapped on a terminal; a closed one is no error."""
    with suppress(OSError):
        if sys.stderr.isatty():
            text = _wrapped(text, sys.stderr)
        print(f"{text}\n", end="", file=sys.stderr, flush=True)  # noqa: T201 - output of the commands


def _wrapped(text: str, stream: TextIO) -> str:
    from runtime.wrapping import wrap_for

    return wrap_for(stream, text)


def echo_sentence(text: str) -> None:
    """Print a result that is a sentence to stdout, wrapped on a terminal."""
    echo(_wrapped(text, sys.stdout))


def echo(text: str) -> None:
    """Print a result to stdout."""
    with exit_on_broken_pipe(), translate_write_errors("standard output"):
        print(text, flush=True)  # noqa: T201 - output of the commands


def compact_json(values: Mapping[str, object]) -> str:
    """Serialize as JSON on one line, in ASCII."""
    import json

    return json.dumps(values, separators=(",", ":"))


def indented_json(content: bytes) -> str:
    """Reformat JSON with indentation, in ASCII, which has no control characters."""
    import json

    return json.dumps(json.loads(content), indent=2)


@contextmanager
def exit_on_broken_pipe() -> Iterator[None]:
    """Exit silently when the reader of stdout closes the pipe (``| head``)."""
    try:
        yield
        sys.stdout.flush()
    except (BrokenPipeError, ConnectionResetError):  # of a pipe, of a socket
        _flush_or_discard_stdout()
        sys.exit(_EXIT_SIGPIPE)


def fail_at_once(name: str, error: OnnxferryError) -> NoReturn:
    """Print an error and end the process from any thread, as a kill does: nothing is cleaned up."""
    _log_error(name, error)
    os._exit(error.exit_code)


def _fail(name: str, error: OnnxferryError) -> NoReturn:
    _log_error(name, error)
    _flush_or_discard_stdout()
    sys.exit(error.exit_code)


def _log_error(name: str, error: OnnxferryError) -> None:
    from runtime.printable import printable_lines

    prefix = f"{name}: error:"
    text = f"{prefix} {printable_lines(str(error))}"
    if sys.stderr.isatty() and "NO_COLOR" not in os.environ:
        lines = _wrapped(text, sys.stderr)
        text = lines.replace(prefix, f"\033[1;31m{prefix}\033[0m", 1)
    log(text)


def _flush_or_discard_stdout() -> None:
    """Discard output that cannot be flushed, lest the interpreter fail on exit."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _prepare_streams() -> None:
    """Reopen closed standard streams, and escape characters that they cannot encode."""
    # An output file must not get the descriptor of a closed stream (``>&-``).
    # Stdout is opened for reading: writing a result fails, as in other programs.
    for name, mode, flags in (
        ("stdin", "r", os.O_RDONLY),
        ("stdout", "w", os.O_RDONLY),
        ("stderr", "w", os.O_WRONLY),
    ):
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(os.open(os.devnull, flags), mode))
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _missing_extra(name: str, module: str) -> UnavailableError:
    from runtime.session import is_installed

    build = "cpu" if is_installed("onnxruntime") else "gpu"  # never both
    return UnavailableError(
        f'{name} needs {module}, which is not installed: pip install "onnxferry[train,{build}]"'
    )


def _install_signal_handlers() -> None:
    """Raise on SIGINT and SIGTERM, so that temporary files are removed; record them."""

    def interrupt(number: int, _frame: FrameType | None) -> NoReturn:
        _interrupts.append(number)
        raise KeyboardInterrupt

    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # unless it is ignored
        signal.signal(signal.SIGINT, interrupt)
    signal.signal(signal.SIGTERM, _exit_on_sigterm)


def _exit_on_sigterm(number: int, _frame: FrameType | None) -> NoReturn:
    """Raise ``SystemExit``."""
    _terminations.append(number)
    sys.exit(_EXIT_SIGTERM)
