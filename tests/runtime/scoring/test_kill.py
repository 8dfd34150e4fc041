"""Scoring killed at any moment; what stops at each single call leave is in test_stops."""

from __future__ import annotations

import random
import subprocess
import sys
import time
from collections import Counter
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Start = Callable[[], subprocess.Popen[bytes]]

MOMENTS = 25  # a policy
AS_SOON_AS_IT_WRITES = 5  # of these; the others are drawn
OUTPUTS = ("out.csv", "out.csv.rejects.csv")
ROWS = b"1.5,2.5,a product\n" * 999
BAD_ROW = b"x,2.5,another\n"


def contents(folder: Path) -> dict[str, bytes]:
    """Outputs in a folder and what is in them."""
    return {name: (folder / name).read_bytes() for name in OUTPUTS if (folder / name).exists()}


def rests(folder: Path) -> set[str]:
    """Temporary files in a folder."""
    return {path.name for path in folder.glob(".*")}


def time_run(start: Start) -> float:
    """Seconds that a whole run takes."""
    began = time.perf_counter()
    with start() as process:
        _, spoken = process.communicate(timeout=60)
    assert process.returncode == 0, spoken.decode()
    return time.perf_counter() - began


def kill_after(seconds: float, process: subprocess.Popen[bytes]) -> bool:
    """Kill a process; True when it ended before."""
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        process.kill()
    return process.wait(60) == 0


def kill_while_writing(folder: Path, process: subprocess.Popen[bytes]) -> bool:
    """Kill a process when it has made a temporary file; True when it ended before."""
    before = rests(folder)
    while rests(folder) <= before and process.poll() is None:
        time.sleep(0.002)
    process.kill()
    return process.wait(60) == 0


@pytest.mark.parametrize("policy", ["fail", "reject"])
def test_a_kill_at_any_moment_leaves_no_half_output(
    bundle: Path,
    environment: dict[str, str],
    tmp_path: Path,
    record_testsuite_property: Callable[[str, object], None],
    policy: str,
) -> None:
    """``kill -9`` at random moments: each output is as it was before, or complete.

    Afterwards one run that is left alone removes what the killed ones left.
    """
    block = ROWS + (BAD_ROW if policy == "reject" else ROWS[:18])
    (tmp_path / "in.csv").write_bytes(b"price,rating,name\n" + block * 1200)
    command = [sys.executable, "-m", "runtime", "predict", "--file", "in.csv", "--out", "out.csv"]
    command += ["--force"]
    command += ["--bundle", str(bundle), "--provider", "cpu", "--bad-rows", policy]

    def start() -> subprocess.Popen[bytes]:
        return subprocess.Popen(command, cwd=tmp_path, env=environment, stderr=subprocess.PIPE)

    duration = max(time_run(start), time_run(start))
    complete = contents(tmp_path)
    assert len(complete) == (2 if policy == "reject" else 1)
    moments = random.Random(4)  # noqa: S311 - not a secret
    seen: Counter[str] = Counter()
    for turn in range(MOMENTS):
        before = dict.fromkeys(complete, b"from yesterday") if turn % 2 else {}
        for name in complete:
            (tmp_path / name).unlink(missing_ok=True)
        for name, content in before.items():
            (tmp_path / name).write_bytes(content)
        rests_before = rests(tmp_path)
        with start() as process:
            if turn < AS_SOON_AS_IT_WRITES:
                ended = kill_while_writing(tmp_path, process)
            else:
                ended = kill_after(moments.uniform(0, duration * 1.05), process)
        after = contents(tmp_path)
        for name in complete:
            assert after.get(name) in {before.get(name), complete[name]}, f"{name} is half"
        if after.get("out.csv") == complete["out.csv"]:
            assert after == complete, "the output is there without its list of bad rows"
        if ended or after == complete:
            seen["after the end" if ended else "after the rename"] += 1
        else:
            seen["while writing" if rests(tmp_path) != rests_before else "before writing"] += 1
    record_testsuite_property(f"killed, {policy}", {"seconds": round(duration, 2), **seen})
    assert seen["while writing"] >= AS_SOON_AS_IT_WRITES, seen
    time_run(start)
    assert contents(tmp_path) == complete
    assert rests(tmp_path) == set()
