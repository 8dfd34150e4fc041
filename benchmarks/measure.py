"""Time commands as whole processes, in turn, and write the table."""

from __future__ import annotations

import json
import os
import platform
import shlex
import statistics
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

RESULTS = Path(__file__).parent / "results"
_SAMPLING_S = 0.003


@dataclass(frozen=True)
class Run:
    """One run of one command.

    Attributes:
        wall: seconds.
        cpu: seconds of user and system time.
        peak: largest resident set of the process, in MiB; sampled every few milliseconds on
            Linux, where the system's own figure begins with what the parent process takes.
        anonymous: of that, the most that was not mapped from files such as libraries, in MiB;
            sampled likewise, on Linux only.
        beside: seconds of user and system time of a server meanwhile.
    """

    wall: float
    cpu: float
    peak: float
    anonymous: float
    beside: float = 0.0


def run(command: Sequence[str], *, server: int | None = None) -> Run:
    """Run a command, and discard its output.

    Args:
        command: the program and its arguments.
        server: process whose time is measured, too, on Linux.

    Returns:
        Its resources, as the operating system accounts for them.

    Raises:
        SystemExit: when the command fails.
    """
    before = _cpu(server)
    started = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    with process, _Sampler(process.pid) as sampler:
        message = process.stderr.read() if process.stderr else b""
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    wall = time.perf_counter() - started
    if process.returncode:
        sys.exit(f"{' '.join(command)} failed:\n{message.decode()}")
    cpu = usage.ru_utime + usage.ru_stime
    peak = sampler.resident or _mebibytes(usage.ru_maxrss)
    return Run(wall, cpu, peak, sampler.anonymous, _cpu(server) - before)


def told(package: str, *words: str | Path) -> dict[str, Any]:
    """Run a command of ours with ``--json``.

    Args:
        package: such as ``trainer``.
        words: the command and its options.

    Returns:
        What it prints.

    Raises:
        SystemExit: when the command fails.
    """
    line = [sys.executable, "-m", package, *map(str, words), "--json"]
    done = subprocess.run(line, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{' '.join(line)} failed:\n{done.stderr}")
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def race(
    contenders: Mapping[str, Sequence[str]], runs: int, *, server: int | None = None
) -> dict[str, list[Run]]:
    """Run the contenders in turn, so that a drift of the machine affects all of them.

    Each turn begins with another one: nobody always follows the one that takes most memory.

    Args:
        contenders: command by name.
        runs: counted runs of each, after one that is not counted.
        server: see ``run``.

    Returns:
        The counted runs by name.
    """
    measured: dict[str, list[Run]] = {name: [] for name in contenders}
    for turn in range(runs + 1):
        for name in rotate(list(contenders), turn):
            result = run(contenders[name], server=server)
            if turn:
                measured[name].append(result)
    return measured


def rotate(names: Sequence[str], turn: int) -> list[str]:
    """Let another name be first in each turn."""
    first = turn % len(names)
    return [*names[first:], *names[:first]]


def table(measured: Mapping[str, Sequence[Run]]) -> str:
    """Write medians, and each contender's wall time and memory (MiB) over the first's."""
    ours = next(iter(measured.values()))
    lines = [
        "| contender | wall s | CPU s | peak MiB | anonymous | wall ÷ ours | peak | anonymous |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name, results in measured.items():
        wall, cpu, peak, anonymous = (
            middle(results, unit) for unit in ("wall", "cpu", "peak", "anonymous")
        )
        ratios = " | ".join(
            f"{ratio(results, ours, unit):.2f}" for unit in ("wall", "peak", "anonymous")
        )
        lines.append(
            f"| {name} | {wall:.2f} | {cpu:.2f} | {peak:.0f} | {anonymous:.0f} | {ratios} |"
        )
    return "\n".join(lines)


def middle(results: Sequence[Run], unit: str) -> float:
    """Take the median of a unit of ``Run``."""
    return float(statistics.median(getattr(result, unit) for result in results))


def ratio(results: Sequence[Run], others: Sequence[Run], unit: str) -> float:
    """Divide a unit of ``Run`` by that of others: the median over the pairs of runs."""
    pairs = zip(results, others, strict=True)
    return float(statistics.median(getattr(a, unit) / getattr(b, unit) for a, b in pairs))


def targets(rows: Sequence[tuple[str, float, str]]) -> str:
    """Format a table of measurements and targets: name, figure, target."""
    lines = [f"| {what} | {value:.2f} | {asked} |" for what, value, asked in rows]
    return "\n".join(["| | measured | target |", "|---|---|---|", *lines])


TIMES = "Medians; ratios are medians over the pairs of runs taken in turn."


def report(
    name: str,
    title: str,
    body: str,
    packages: Sequence[str],
    *,
    note: str = TIMES,
    write: bool,
) -> None:
    """Print a result with machine, versions and command; write it to a file if requested.

    Args:
        name: of the file under ``benchmarks/results``, without its ending.
        title: first line.
        body: tables and text.
        packages: packages whose versions are listed.
        note: what the figures are.
        write: keep the result.
    """
    versions = ", ".join(f"{package} {_version(package)}" for package in packages)
    command = shlex.join(["python", f"benchmarks/{Path(sys.argv[0]).name}", *sys.argv[1:]])
    text = (
        f"# {title}\n\n{body}\n\n"
        f"{platform.system()} {platform.machine()}, {os.cpu_count()} processors; "
        f"Python {platform.python_version()}, {versions}. Command: `{command}`. "
        f"{note}\n"
    )
    print(text)
    if write:
        (RESULTS / f"{name}.md").write_text(text, encoding="utf-8")


class _Sampler:
    """Watches the memory of a process, that of all its threads together, from a thread.

    ``/proc/PID/statm`` takes microseconds to read, so that watching costs the process nothing.
    A process that this one starts is not counted.

    Attributes:
        resident: the largest resident set seen, in MiB; 0 where the system does not tell.
        anonymous: the most of it that was not mapped from files, in MiB; NaN where it does not.
    """

    def __init__(self, pid: int) -> None:
        self.resident = 0.0
        self.anonymous = float("nan")
        self._statm = Path(f"/proc/{pid}/statm")
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()

    def _watch(self) -> None:
        page = os.sysconf("SC_PAGE_SIZE") / 2**20
        try:
            with self._statm.open("rb", buffering=0) as stream:
                self.anonymous = 0.0
                while not self._done.wait(_SAMPLING_S):
                    stream.seek(0)
                    _, resident, shared, *_ = map(int, stream.read().split())
                    self.resident = max(self.resident, resident * page)
                    self.anonymous = max((resident - shared) * page, self.anonymous)
        except OSError:  # not on Linux, or the process has gone
            return


def _cpu(pid: int | None) -> float:
    """Read the seconds of user and system time of a process; 0 of none."""
    if pid is None:
        return 0.0
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    return sum(map(int, fields[11:13])) / os.sysconf("SC_CLK_TCK")


def _mebibytes(maxrss: int) -> float:
    """Convert ``ru_maxrss``, which is KiB on Linux and bytes on macOS."""
    return maxrss / (1024 if sys.platform != "darwin" else 1024 * 1024)


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "not installed"
