"""Outputs that accept partial writes."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import threading
from typing import TYPE_CHECKING

import pytest

from runtime.errors import UsageError
from runtime.io.streams import WriteAllFile, standard_output

if TYPE_CHECKING:
    from pathlib import Path

ROWS = 20_000
TABLE = b"price,rating\n" + b"1.5,2.5\n" * ROWS


@pytest.fixture
def command(bundle: Path, tmp_path: Path) -> list[str]:
    """Score a table whose output is larger than a pipe's buffer."""
    (tmp_path / "in.csv").write_bytes(TABLE)
    command = [sys.executable, "-m", "runtime", "predict", "--bundle", str(bundle)]
    return [*command, "--file", "in.csv", "--out-format", "jsonl"]


@pytest.mark.parametrize("out", ["-", "/dev/stdout"])
@pytest.mark.parametrize("buffering", [{}, {"PYTHONUNBUFFERED": "1"}], ids=["buffered", "not"])
def test_a_full_non_blocking_pipe_is_waited_for(
    command: list[str],
    environment: dict[str, str],
    tmp_path: Path,
    out: str,
    buffering: dict[str, str],
) -> None:
    """A non-blocking pipe accepts partial writes: no row is lost."""
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    with subprocess.Popen(
        [*command, "--out", out],
        stdout=writer,
        stderr=subprocess.PIPE,
        cwd=tmp_path,
        env={**environment, **buffering},
    ) as process:
        os.close(writer)
        with os.fdopen(reader, "rb") as stream:
            lines = stream.read().splitlines()
        _, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors
    assert len(lines) == ROWS


def test_a_partial_last_write_is_an_error(
    command: list[str], environment: dict[str, str], tmp_path: Path
) -> None:
    """A disk that accepts part of the last write is full, however Python buffers."""
    done = subprocess.run(
        ["bash", "-c", 'ulimit -f 64; "$@" > out.jsonl', "bash", *command],
        capture_output=True,
        cwd=tmp_path,
        env={**environment, "PYTHONUNBUFFERED": "1"},
        timeout=120,
        check=False,
    )
    assert done.returncode == 3
    assert b"cannot write standard output" in done.stderr
    assert b"Traceback" not in done.stderr


def test_everything_is_written_to_a_non_blocking_pipe() -> None:
    """``write`` returns when everything is in the pipe."""
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    data = os.urandom(1 << 20)
    with WriteAllFile(writer, "wb") as stream, os.fdopen(reader, "rb") as back:
        found: list[bytes] = []
        thread = threading.Thread(target=lambda: found.append(back.read(len(data))))
        thread.start()
        assert stream.write(data) == len(data)
        thread.join()
    assert found == [data]


def test_a_text_only_standard_output_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where standard output accepts only text, as in a notebook, the message gives the remedy."""
    monkeypatch.setattr(sys, "stdout", io.StringIO())
    with pytest.raises(UsageError, match="give the name of a file"):
        standard_output()
