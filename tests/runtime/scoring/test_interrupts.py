"""Interrupted scoring: exit code and cleanup."""

from __future__ import annotations

import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

# A shell's background jobs ignore Ctrl-C and hand that on: undo it, as a terminal would have.
COMMAND = """
import runpy, signal
signal.signal(signal.SIGINT, signal.default_int_handler)
runpy.run_module("runtime", run_name="__main__", alter_sys=True)
"""
ROWS = b"1.5,2.5\n" * 500_000 + b"x,1\n"  # more than a pipe holds: once written, most was read


@pytest.mark.parametrize(
    ("name", "code"), [("SIGINT", 130), ("SIGTERM", 143), ("SIGKILL", -signal.SIGKILL)]
)
@pytest.mark.parametrize("exists", [False, True], ids=["new", "existing"])
def test_a_stop_leaves_the_destination_as_it_was(
    bundle: Path, environment: dict[str, str], tmp_path: Path, name: str, code: int, *, exists: bool
) -> None:
    """Exit codes 130 and 143; outputs are unchanged, and only SIGKILL leaves temporary files."""
    outputs = ["out.csv", "out.csv.rejects.csv"]
    if exists:
        for output in outputs:
            (tmp_path / output).write_bytes(b"from yesterday")
    command = ["predict", "--file", "-", "--out", "out.csv", "--bad-rows", "reject", "--force"]
    with subprocess.Popen(
        [sys.executable, "-c", COMMAND, *command, "--bundle", bundle],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=tmp_path,
        env=environment,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdin.write(b"price,rating\n" + ROWS)
        process.stdin.flush()
        assert len(list(tmp_path.glob(".*.partial"))) == 2, "both outputs are being written"
        process.send_signal(signal.Signals[name])
        assert process.wait(timeout=60) == code
        said = b"runtime: interrupted; nothing was written\n" if name == "SIGINT" else b""
        assert (process.stdout.read(), process.stderr.read()) == (b"", said)
        process.stdin.close()
    left = sorted(path.name for path in tmp_path.iterdir() if not path.name.startswith("."))
    assert left == (outputs if exists else [])
    assert all((tmp_path / output).read_bytes() == b"from yesterday" for output in left)
    if name != "SIGKILL":
        assert len(list(tmp_path.iterdir())) == len(left)


def test_a_run_after_a_kill_succeeds(
    bundle: Path, environment: dict[str, str], tmp_path: Path
) -> None:
    """Temporary files of a killed run do not affect the next."""
    (tmp_path / "in.csv").write_bytes(b"price,rating\n1,2\n")
    command = ["predict", "--file", "in.csv", "--out", "out.csv", "--bundle", str(bundle)]
    for rest in (".out.csv.1.partial", f".out.csv.{'0' * 8}.partial"):
        (tmp_path / rest).write_bytes(b"half")
    done = subprocess.run(
        [sys.executable, "-c", COMMAND, *command],
        capture_output=True,
        cwd=tmp_path,
        env=environment,
        check=False,
    )
    assert done.returncode == 0
    assert (tmp_path / "out.csv").read_bytes().count(b"\n") == 2
