"""What libraries write to stderr, as records of the log.

gRPC, onnxruntime and CUDA write to file descriptor 2, so a pipe takes its place, and ``sys.stderr``
keeps the terminal or file for the log itself. Clients can cause such lines, by handshakes that fail
for example, so they are limited a minute. Warnings of Python, errors that nobody can catch and
what is logged with ``logging``, as asyncio and gRPC do, become records, too.
"""

from __future__ import annotations

import logging
import os
import re
import sys
import threading
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Final

from runtime.serving.observability.log import OUTPUT

if TYPE_CHECKING:
    from collections.abc import Iterator

    from runtime.choices import LogLevel
    from runtime.serving.observability.log import Logger

_STDERR: Final = 2
_READ_BYTES: Final = 64 * 1024
_MAX_LINE: Final = 64 * 1024  # bytes; a longer line becomes several records
_JOIN_S: Final = 1.0  # a library's child process may keep the pipe open
_COLORS: Final = re.compile(rb"\x1b\[[0-9;]*m")
# gRPC's and onnxruntime's errors: E1129 22:32:54 file:line] text, and [E:onnxruntime:, place] text.
_ERROR: Final = re.compile(rb"^[EF]\d{4} |\[[EF]:onnxruntime")


@contextmanager
def captured_stderr(logger: Logger) -> Iterator[None]:
    """Write to ``logger`` what is not a record yet, within the context."""
    try:
        with _captured_descriptor(logger), _captured_python(logger):
            yield
    finally:
        logger.log_left_out()


# ---- File descriptor 2 -------------------------------------------------------------------------


@contextmanager
def _captured_descriptor(logger: Logger) -> Iterator[None]:
    try:
        real = os.dup(_STDERR)
    except OSError:  # it is closed
        yield
        return
    before = sys.stderr
    source, target = os.pipe()
    os.dup2(target, _STDERR)
    os.close(target)
    sys.stderr = os.fdopen(real, "w", buffering=1, errors="backslashreplace")
    thread = threading.Thread(target=_forward, args=(source, logger), name="stderr", daemon=True)
    thread.start()
    try:
        yield
    finally:
        with suppress(OSError):
            before.flush()
        os.dup2(real, _STDERR)  # closes the pipe, which ends the thread
        thread.join(_JOIN_S)
        with suppress(OSError):  # nobody reads it any more
            sys.stderr.close()
        sys.stderr = before


def _forward(source: int, logger: Logger) -> None:
    """Write each line of a pipe as a record, until its end."""
    rest = b""
    with os.fdopen(source, "rb", buffering=0) as stream:
        while data := stream.read(_READ_BYTES):
            *lines, rest = (rest + data).split(b"\n")
            if len(rest) > _MAX_LINE:
                lines, rest = [*lines, rest], b""
            for line in lines:
                _log_line(line, logger)
    _log_line(rest, logger)


def _log_line(line: bytes, logger: Logger) -> None:
    plain = _COLORS.sub(b"", line).strip()
    if plain:
        level: LogLevel = "error" if _ERROR.search(plain) else "info"
        text = plain.decode(errors="backslashreplace")
        logger.log_limited(level, OUTPUT, lambda: {"text": text})


# ---- Python ------------------------------------------------------------------------------------


@contextmanager
def _captured_python(logger: Logger) -> Iterator[None]:
    hooks = sys.unraisablehook, threading.excepthook
    handler = _Handler(logger)
    root = logging.getLogger()

    def report(args: sys.UnraisableHookArgs | threading.ExceptHookArgs) -> None:
        if isinstance(args.exc_value, Exception):
            logger.internal_error(args.exc_value)

    root.addHandler(handler)
    logging.captureWarnings(capture=True)
    sys.unraisablehook = threading.excepthook = report
    try:
        yield
    finally:
        sys.unraisablehook, threading.excepthook = hooks
        logging.captureWarnings(capture=False)
        root.removeHandler(handler)


class _Handler(logging.Handler):
    """Writes what is logged with ``logging``."""

    def __init__(self, logger: Logger) -> None:
        super().__init__()
        self._logger = logger

    def emit(self, record: logging.LogRecord) -> None:
        level: LogLevel = "error" if record.levelno >= logging.ERROR else "info"
        fields = {"logger": record.name, "text": record.getMessage().strip()}
        if record.exc_info:
            fields["traceback"] = logging.Formatter().formatException(record.exc_info)
        self._logger.log_limited(level, OUTPUT, lambda: fields)
