"""Time commands as whole processes, contenders in turn, and write the table."""

from __future__ import annotations

import os
import platform
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

RESULTS = Path(__file__).parent / "results"


@dataclass(frozen=True)
class Run:
    """One run of one command.

    Attributes:
        wall: seconds.
        cpu: seconds of user and system time.
        peak: largest resident set of the process, in MiB.
    """

    wall: float
    cpu: float
    peak: float


def run(command: Sequence[str]) -> Run:
    """Run a command to its end, its output thrown away.

    Args:
        command: the program and its arguments.

    Returns:
        What the operating system accounted for it.

    Raises:
        SystemExit: when the command fails.
    """
    started = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    with process:
        message = process.stderr.read() if process.stderr else b""
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    wall = time.perf_counter() - started
    if process.returncode:
        sys.exit(f"{' '.join(command)} failed:\n{message.decode()}")
    return Run(wall, usage.ru_utime + usage.ru_stime, _mebibytes(usage.ru_maxrss))


def race(contenders: Mapping[str, Sequence[str]], runs: int) -> dict[str, list[Run]]:
    """Run the contenders in turn, so that a drift of the machine meets all of them.

    Args:
        contenders: command by name.
        runs: counted runs of each, after one that is not counted.

    Returns:
        The counted runs by name.
    """
    measured: dict[str, list[Run]] = {name: [] for name in contenders}
    for turn in range(runs + 1):
        for name, command in contenders.items():
            result = run(command)
            if turn:
                measured[name].append(result)
    return measured


def table(measured: Mapping[str, Sequence[Run]]) -> str:
    """Write medians, and the ratio of each contender's wall time and memory to the first's."""
    ours = next(iter(measured.values()))
    lines = [
        "| contender | wall s | CPU s | peak MiB | wall ÷ ours | memory ÷ ours |",
        "|---|---|---|---|---|---|",
    ]
    for name, results in measured.items():
        wall, cpu, peak = (
            statistics.median(getattr(result, unit) for result in results)
            for unit in ("wall", "cpu", "peak")
        )
        slower = statistics.median(b.wall / a.wall for a, b in zip(ours, results, strict=True))
        larger = statistics.median(b.peak / a.peak for a, b in zip(ours, results, strict=True))
        lines.append(
            f"| {name} | {wall:.2f} | {cpu:.2f} | {peak:.0f} | {slower:.2f} | {larger:.2f} |"
        )
    return "\n".join(lines)


def report(name: str, title: str, body: str, packages: Sequence[str], *, write: bool) -> None:
    """Print a result with machine, versions and command, and keep it where asked.

    Args:
        name: of the file under ``benchmarks/results``, without its ending.
        title: first line.
        body: tables and text.
        packages: whose versions matter.
        write: keep the result.
    """
    versions = ", ".join(f"{package} {_version(package)}" for package in packages)
    command = " ".join([f"python benchmarks/{Path(sys.argv[0]).name}", *sys.argv[1:]])
    text = (
        f"# {title}\n\n{body}\n\n"
        f"{platform.system()} {platform.machine()}, {os.cpu_count()} processors; "
        f"Python {platform.python_version()}, {versions}. Command: `{command}`. "
        "Medians; ratios are medians over the pairs of runs taken in turn.\n"
    )
    print(text)
    if write:
        (RESULTS / f"{name}.md").write_text(text, encoding="utf-8")


def _mebibytes(maxrss: int) -> float:
    """Convert ``ru_maxrss``, which is KiB on Linux and bytes on macOS."""
    return maxrss / (1024 if sys.platform != "darwin" else 1024 * 1024)


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "not installed"
