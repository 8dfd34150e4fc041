"""The gain of ``runtime serve --workers 2`` when the load does not compete for CPU.

On a machine with two CPUs the clients would use the second worker's share. So each worker is
limited to a quarter of a CPU by a control group (cgroup) of Linux. One worker and two are loaded in
turn; each gain is a median over the pairs. Needs permission to create control groups, as root in a
container has it.

python benchmarks/workers.py [--rounds 5] [--seconds 1.5] [--write]
"""

from __future__ import annotations

import argparse
import os
import sys
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import measure
from serve import Figure, Task, ask, middle, ratio
from serving.contenders import Contender, free_port, start

if TYPE_CHECKING:
    from collections.abc import Iterator

GROUPS = Path("/sys/fs/cgroup/cpu")  # version 1; the only hierarchy with a file for each process
SHARE = 0.25  # of a processor, a worker
PERIOD_US = 20_000
COUNTS = (1, 2)
TASKS = (
    Task("1 row, JSON, 64 connections", "json", 1, 64),
    Task("1024 rows, JSON, 64 connections", "json", 1024, 64),
)


@contextmanager
def limit(pid: int) -> Iterator[None]:
    """Limit a process to its share of a CPU."""
    group = GROUPS / f"onnxferry-workers-{os.getpid()}-{pid}"
    group.mkdir()
    try:
        (group / "cpu.cfs_period_us").write_text(str(PERIOD_US))
        (group / "cpu.cfs_quota_us").write_text(str(int(PERIOD_US * SHARE)))
        (group / "cgroup.procs").write_text(str(pid))
        yield
    finally:
        (GROUPS / "cgroup.procs").write_text(str(pid))
        group.rmdir()


def serve(bundle: Path, workers: int) -> Contender:
    """Start our server."""
    port = free_port()
    words = [sys.executable, "-m", "runtime", "serve", "--bundle", f"simplenet={bundle}"]
    words += ["--port", str(port), "--provider", "cpu", "--workers", str(workers)]
    return start(words, port, {})


def workers_of(contender: Contender) -> list[int]:
    """Find the worker processes: the supervisor's children, or the only process."""
    pid = contender.process.pid
    text = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii")
    return [int(child) for child in text.split()] or [pid]


def main() -> None:
    """Start both, limit their workers, load them in turn, report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bundle", type=Path, default=Path("artifacts/bundle"))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=1.5)
    parser.add_argument("--write", action="store_true", help="keep the result")
    args = parser.parse_args()
    if not os.access(GROUPS / "cgroup.procs", os.W_OK):
        print(f"{GROUPS} cannot be written: nothing would hold a worker to its share")
        return
    contenders = {workers: serve(args.bundle.resolve(), workers) for workers in COUNTS}
    try:
        with ExitStack() as stack:
            for contender in contenders.values():
                for pid in workers_of(contender):
                    stack.enter_context(limit(pid))
            rows = [race(task, contenders, args.rounds, args.seconds) for task in TASKS]
    finally:
        for contender in contenders.values():
            contender.stop()
    head = "| load | 1 worker, requests/s | 2 workers | gain | CPU µs a request | with 2 |"
    measure.report(
        "workers",
        "One worker and two, a quarter of a processor each",
        "\n".join([head, "|---|---|---|---|---|---|", *rows]),
        ("onnxferry", "uvloop"),
        note="Medians; the gain is the median over pairs of rounds.",
        write=args.write,
    )


def race(task: Task, contenders: dict[int, Contender], rounds: int, seconds: float) -> str:
    """Load both in turn; return a line."""
    found: dict[int, list[Figure]] = {workers: [] for workers in contenders}
    for _ in range(rounds):
        for workers, contender in contenders.items():
            found[workers].append(ask(contender, task, seconds))
    one, two = found.values()
    rates = " | ".join(f"{middle(each, 'per_second'):,.0f}" for each in (one, two))
    cpu = " | ".join(f"{middle(each, 'cpu_us'):,.0f}" for each in (one, two))
    return f"| {task.name} | {rates} | {ratio(two, one, 'per_second'):.2f} | {cpu} |"


if __name__ == "__main__":
    main()
