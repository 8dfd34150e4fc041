"""Exit of a command's process."""

from __future__ import annotations

import socket
import subprocess
import sys
from pathlib import Path

import pytest

# A thread of pyarrow calls back into Python while the main thread is done.
READING = """
import io, sys, threading, time
import pyarrow as pa, pyarrow.parquet as pq
from runtime.terminal import process

class Slow(io.BytesIO):
    is_slow = False
    def read(self, size=-1):
        if self.is_slow:
            begun.set()
            time.sleep(0.3)
        return super().read(size)

begun, written = threading.Event(), io.BytesIO()
pq.write_table(pa.table({"price": [1.0] * 100}), written, row_group_size=10)
file = Slow(written.getvalue())
parquet = pq.ParquetFile(file, pre_buffer=True)
file.is_slow = True

def command(prog_name):
    threading.Thread(target=lambda: list(parquet.iter_batches(10)), daemon=True).start()
    begun.wait()
    print("answered")
    sys.exit(CODE)

process.run(command, "command")
"""
# A library replaces the exit that a signal has raised.
_TERMINATED = """import signal
    try:
        signal.raise_signal(signal.SIGTERM)
    except SystemExit:"""
ENDING = """
import sys
from runtime.terminal import process

def command(prog_name):
    print("answered", end="")
    ENDS

process.run(command, "command")
"""


@pytest.mark.parametrize("code", [0, 3])
def test_a_thread_of_a_library_that_still_works_does_not_abort_the_process(code: int) -> None:
    """The exit code is the command's, whatever pyarrow's threads do."""
    done = _run(READING.replace("CODE", str(code)))
    assert (done.returncode, done.stdout, done.stderr) == (code, "answered\n", "")


@pytest.mark.parametrize(
    ("ends", "code"),
    [
        ("return", 0),
        ("sys.exit()", 0),
        ("sys.exit(5)", 5),
        ("raise KeyboardInterrupt", 130),
        ("raise RuntimeError('a bug')", 1),
        (f"{_TERMINATED}\n        sys.exit(1)", 143),
        (f"{_TERMINATED}\n        raise ValueError", 143),
    ],
)
def test_every_ending_has_its_code_and_loses_no_output(ends: str, code: int) -> None:
    """Output is flushed, also before a bug, which has a traceback."""
    done = _run(ENDING.replace("ENDS", ends))
    assert (done.returncode, done.stdout) == (code, "answered")
    assert ("RuntimeError: a bug" in done.stderr) == (code == 1)


def test_output_that_cannot_be_written_at_the_end_is_a_failure() -> None:
    """A full disk is not a success."""
    with Path("/dev/full").open("w") as full:
        code = ENDING.replace("ENDS", "return")
        done = subprocess.run([sys.executable, "-c", code], stdout=full, check=False)
    assert done.returncode == 1


def _run(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60
    )


def test_a_line_is_one_write() -> None:
    """Lines of processes that share a standard error stay apart, as where nothing is buffered.

    Each write to a socket of this kind is a message of its own.
    """
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    with ours, theirs:
        subprocess.run(
            [
                sys.executable,
                "-u",
                "-c",
                "from runtime.terminal import process; process.log('a line')",
            ],
            stderr=theirs.fileno(),
            check=True,
        )
        ours.settimeout(10)
        assert ours.recv(100) == b"a line\n"
