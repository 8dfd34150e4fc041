"""Runs of engines whose workers are killed, local and in a store."""

from __future__ import annotations

import pickle
import signal
import subprocess
import sys
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING

import pytest

from runtime.engines.parts import attempt, open_run
from runtime.errors import UnavailableError
from runtime.io.paths import parse_location

if TYPE_CHECKING:
    from pathlib import Path

    from runtime.io.destinations import Staging
    from runtime.io.paths import Location

_WORKER = """
import pickle, sys, time
from runtime.engines.parts import attempt
out, staging = pickle.loads(sys.stdin.buffer.read())
with attempt(out, staging, "a.csv"):
    print("working", flush=True)
    time.sleep(60)
"""


@pytest.fixture(params=["local", pytest.param("store", marks=pytest.mark.object_store)])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Location:
    """A folder that does not exist yet."""
    if request.param == "local":
        return tmp_path / "out"
    return parse_location(f"{request.getfixturevalue('bucket')}/night/out")


def _start_worker(folder: Location, staging: Staging) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-c", _WORKER]
    worker = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert worker.stdin
    worker.stdin.write(pickle.dumps((folder, staging)))
    worker.stdin.close()
    return worker


def test_a_file_that_ends_its_workers_is_given_up(folder: Location) -> None:
    """The fifth worker is refused, with the file's name; a resumed run begins to count anew."""
    identity = {"options": "those of the night"}
    with suppress(UnavailableError), open_run(folder, identity, resume=False) as run:
        with run.staging.write("b.csv") as part:
            part.write(b"1\n")
        with ExitStack() as stack:
            workers = [stack.enter_context(_start_worker(folder, run.staging)) for _ in range(4)]
            for worker in workers:
                assert worker.stdout
                assert worker.stdout.readline() == b"working\n"
                worker.send_signal(signal.SIGKILL)
        with attempt(folder, run.staging, "b.csv"):
            pass  # others are not concerned
        message = r"^a\.csv: 4 workers ended while they worked on it.* of memory; try again$"
        refused = pytest.raises(UnavailableError, match=message)
        with refused as caught, attempt(folder, run.staging, "a.csv", advice="; try again"):
            pass
        raise caught.value
    assert not (folder / "_SUCCESS").is_file()
    with open_run(folder, identity, resume=True) as run:
        assert [part.name for part in run.whole_parts()] == ["b.csv"]
        with attempt(folder, run.staging, "a.csv"), run.staging.write("a.csv") as part:
            part.write(b"2\n")
        run.commit(run.whole_parts())
    assert (folder / "a.csv").read_bytes() == b"2\n"
