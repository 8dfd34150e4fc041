"""Folders that several processes fill and one publishes, local and in a store."""

from __future__ import annotations

import json
import os
import pickle
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest

from runtime.errors import DataError, UsageError
from runtime.io.destinations import open_destination, staged_runs
from runtime.io.discovery import find_tables
from runtime.io.paths import parse_location

if TYPE_CHECKING:
    from pathlib import Path

    from runtime.io.destinations import Part, Staging
    from runtime.io.paths import Location


@pytest.fixture(params=["local", pytest.param("store", marks=pytest.mark.object_store)])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Location:
    """A folder that does not exist yet."""
    if request.param == "local":
        return tmp_path / "out"
    return parse_location(f"{request.getfixturevalue('bucket')}/night/out")


def _write(staging: Staging, name: str, content: bytes, extra: bytes = b"") -> Part:
    with staging.write(name) as part:
        part.write(content)
        part.rows, part.extra = content.count(b"\n"), extra
    assert part.result
    return part.result


def test_parts_appear_together_with_their_marker(folder: Location) -> None:
    """Workers stage; nothing is visible until one attempt of each name is published."""
    long = f"{'b' * 250}.csv"
    with open_destination(folder) as destination:
        staging = pickle.loads(pickle.dumps(destination.staging))  # as a worker gets it  # noqa: S301
        parts = [_write(staging, "a.csv", b"1\n2\n"), _write(staging, f"p=1/{long}", b"3\n")]
        other = _write(staging, "a.csv", b"another attempt\n")
        assert not (folder / "a.csv").is_file()
        assert sorted(destination.whole_parts(), key=str) == sorted([*parts, other], key=str)
        destination.commit(parts)
    assert (folder / "a.csv").read_bytes() == b"1\n2\n"
    assert (folder / "p=1" / long).read_bytes() == b"3\n"
    marker = json.loads((folder / "_SUCCESS").read_bytes())
    assert marker["rows"] == 3
    assert [(part["name"], part["rows"], part["size"]) for part in marker["parts"]] == [
        ("a.csv", 2, 4),
        (f"p=1/{long}", 1, 2),
    ]
    assert all(part.get("etag") for part in marker["parts"]) == str(folder).startswith("s3:")
    assert staged_runs(folder) == []


def test_without_a_commit_nothing_is_left(folder: Location) -> None:
    """A run that fails leaves neither the folder nor what it staged."""
    with suppress(ZeroDivisionError), open_destination(folder) as destination:
        _write(destination.staging, "a.csv", b"1\n")
        with destination.staging.write("b.csv") as part:
            part.write(b"1\n")
            raise ZeroDivisionError
    assert not folder.exists()
    assert staged_runs(folder) == []


def test_a_later_run_of_the_same_name_uses_whole_parts(folder: Location) -> None:
    """What a killed run has staged whole is found, with rows and extra; the rest is not."""
    with open_destination(folder, run="night", keep=True) as destination:
        whole = _write(destination.staging, "a.csv", b"1\n", b"summary")
        with suppress(ZeroDivisionError), destination.staging.write("b.csv") as part:
            part.write(b"half")
            raise ZeroDivisionError
    assert staged_runs(folder) == ["night"]
    with open_destination(folder, run="night") as destination:
        assert destination.whole_parts() == [whole]
        destination.commit(destination.whole_parts())
    assert (folder / "a.csv").read_bytes() == b"1\n"


def test_a_folder_that_holds_files_is_refused(folder: Location) -> None:
    """Neither at the start nor at the commit is anything written among other files."""
    with open_destination(folder) as destination:
        destination.commit([_write(destination.staging, "a.csv", b"1\n")])
    refused = pytest.raises(UsageError, match=r"holds (files|objects).*give another")
    with refused, open_destination(folder):
        pass
    assert (folder / "a.csv").read_bytes() == b"1\n"


def test_of_two_runs_one_publishes(bucket: str) -> None:
    """Two drivers that began with an empty prefix: exactly one commits, and its files stay."""
    folder = parse_location(f"{bucket}/out")

    def run(number: int) -> int | None:
        with open_destination(folder, run=f"run-{number}") as destination:
            part = _write(destination.staging, "a.csv", b"%d\n" % number)
            time.sleep(0.2)
            try:
                destination.commit([part])
            except UsageError:
                return None
            return number

    with ThreadPoolExecutor(4) as pool:
        winners = [number for number in pool.map(run, range(4)) if number is not None]
    assert len(winners) == 1
    assert (folder / "a.csv").read_bytes() == b"%d\n" % winners[0]
    assert json.loads((folder / "_SUCCESS").read_bytes())["rows"] == 1


_KILLED = """
import sys, time
from runtime.io.destinations import open_destination
from runtime.io.paths import parse_location
with open_destination(parse_location(sys.argv[1]), run="night") as destination:
    with destination.staging.write("a.csv") as part:
        part.write(b"1\\n")
        part.rows = 1
    with destination.staging.write("b.csv") as part:
        part.write(b"x" * 20_000_000)
        print("writing", flush=True)
        time.sleep(60)
"""


def test_a_killed_driver_publishes_nothing(folder: Location) -> None:
    """SIGKILL while a part is written: no file appears, and the whole part can be used."""
    command = [sys.executable, "-c", _KILLED, str(folder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, env={**os.environ}) as process:
        assert process.stdout
        assert process.stdout.readline() == b"writing\n"
        process.send_signal(signal.SIGKILL)
    assert not (folder / "a.csv").is_file()
    assert not (folder / "_SUCCESS").is_file()
    with pytest.raises(DataError, match="holds no tables"):  # that could be scored with others
        find_tables(folder.parent)
    with open_destination(folder, run="night") as destination:
        parts = destination.whole_parts()
        assert [part.name for part in parts] == ["a.csv"]
        destination.commit([*parts, _write(destination.staging, "b.csv", b"2\n")])
    assert (folder / "b.csv").read_bytes() == b"2\n"
