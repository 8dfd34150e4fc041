"""Serving SimpleNet, beside other servers, one process each, in the same run.

The load comes from another process on the same machine. Servers are measured in turn, round after
round; each figure is a median over the rounds and each ratio a median over the pairs. Peers are
installed into environments of their own under --peers, once (minutes). ``--without triton`` leaves
Triton out; likewise fastapi, kserve and mlserver.

python benchmarks/serve.py [--peers DIR] [--rounds 3] [--seconds 1.5] [--write]
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import measure
from serving.contenders import Contender, fastapi, kserve, mlserver, ours, triton

LOAD = Path(__file__).parent / "serving" / "load.py"
OURS = "runtime serve"
PEERS = {"Triton": triton, "FastAPI, orjson": fastapi, "KServe": kserve, "MLServer": mlserver}
WITHOUT_BINARY = ("FastAPI, orjson", "MLServer")


@dataclass(frozen=True)
class Task:
    """A kind of request, and the number of connections."""

    name: str
    kind: str
    rows: int
    connections: int


TASKS = (
    Task("1 row, JSON, 1 connection", "json", 1, 1),
    Task("1 row, JSON, 64 connections", "json", 1, 64),
    Task("1024 rows, JSON, 64 connections", "json", 1024, 64),
    Task("16,384 rows, binary, 8 connections", "binary", 16_384, 8),
)


@dataclass(frozen=True)
class Figure:
    """One measurement of one server at one task."""

    per_second: float
    p50_ms: float
    p99_ms: float
    cpu_us: float
    failed: int


def ask(contender: Contender, task: Task, seconds: float) -> Figure:
    """Load a server and measure its CPU time."""
    options = {
        "port": contender.port,
        "kind": task.kind,
        "rows": task.rows,
        "connections": task.connections,
        "seconds": seconds,
    }
    words = [word for name, value in options.items() for word in (f"--{name}", str(value))]
    before = contender.cpu_s()
    done = subprocess.run([sys.executable, LOAD, *words], capture_output=True, check=True)
    found = json.loads(done.stdout)
    # The generator warms up before it counts, at the same rate.
    requests = found["per_second"] * (seconds + 0.4)
    return Figure(
        found["per_second"],
        found["p50_ms"],
        found["p99_ms"],
        (contender.cpu_s() - before) / requests * 1e6,
        int(found["failed"]),
    )


def middle(figures: list[Figure], unit: str) -> float:
    """Take the median of a unit."""
    return float(statistics.median(getattr(figure, unit) for figure in figures))


def ratio(figures: list[Figure], others: list[Figure], unit: str) -> float:
    """Divide a unit by that of others: the median over the pairs."""
    pairs = zip(figures, others, strict=True)
    return float(statistics.median(getattr(a, unit) / getattr(b, unit) for a, b in pairs))


def describe(task: Task, measured: dict[str, list[Figure]]) -> str:
    """Format the table of a task."""
    lines = [
        f"## {task.name}",
        "",
        (
            "| server | requests/s | rows/s | p50 ms | p99 ms | CPU µs a request | ours ÷ it, "
            "requests/s | it ÷ ours, CPU | failed |"
        ),
        "|---|---|---|---|---|---|---|---|---|",
    ]
    mine = measured[OURS]
    for name, figures in measured.items():
        rate = middle(figures, "per_second")
        lines.append(
            f"| {name} | {rate:,.0f} | {rate * task.rows:,.0f} | {middle(figures, 'p50_ms'):.2f} "
            f"| {middle(figures, 'p99_ms'):.2f} | {middle(figures, 'cpu_us'):,.0f} "
            f"| {ratio(mine, figures, 'per_second'):.2f} | {ratio(figures, mine, 'cpu_us'):.2f} "
            f"| {sum(figure.failed for figure in figures)} |"
        )
    return "\n".join(lines)


def describe_starts(contenders: dict[str, Contender], idle: dict[str, float]) -> str:
    """Format the table of start-up times and memory."""
    lines = [
        "## Start and memory",
        "",
        "| server | first correct response, s | idle, MiB | after the load, MiB |",
        "|---|---|---|---|",
    ]
    lines += [
        f"| {name} | {one.started_s:.2f} | {idle[name]:.0f} | {one.resident_mib():.0f} |"
        for name, one in contenders.items()
    ]
    return "\n".join(lines)


def main() -> None:
    """Start all, load them in turn, report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bundle", type=Path, default=Path("artifacts/bundle"))
    parser.add_argument("--peers", type=Path, default=Path("artifacts/peers"))
    parser.add_argument("--without", action="append", default=[])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=1.5)
    parser.add_argument("--write", action="store_true", help="keep the result")
    args = parser.parse_args()
    bundle, peers = args.bundle.resolve(), args.peers.resolve()
    starters = {OURS: ours(bundle)}
    for name, peer in PEERS.items():
        if name.partition(",")[0].lower() not in args.without:
            starters[name] = peer(bundle, peers)
    contenders: dict[str, Contender] = {}
    try:
        for name, begin in starters.items():
            contenders[name] = begin()
        idle = {name: one.resident_mib() for name, one in contenders.items()}
        parts = [race(task, contenders, args.rounds, args.seconds) for task in TASKS]
        parts.append(describe_starts(contenders, idle))
    finally:
        for one in contenders.values():
            one.stop()
    measure.report(
        "serve",
        "Serving SimpleNet over HTTP",
        "\n\n".join(parts),
        ("onnxferry", "onnxruntime-gpu", "uvloop", "httptools", "orjson", "msgspec"),
        note=(
            "Medians; ratios are medians over the pairs of rounds. The load comes from the same "
            "processors. Memory is the proportional set of all processes. FastAPI has no binary "
            "tensors, MLServer answers them with an error; Triton runs its Python backend with "
            "onnxruntime. The machine's load average "
            f"was {os.getloadavg()[0]:.1f} at the end, two of it this benchmark's: where it is far "
            "above, requests/s say who got the processor, and CPU a request is what to compare."
        ),
        write=args.write,
    )


def race(
    task: Task,
    contenders: dict[str, Contender],
    rounds: int,
    seconds: float,
    *,
    all_can: bool = False,
) -> str:
    """Load all servers that support a task, in turn."""
    able = [
        name for name in contenders if all_can or task.kind == "json" or name not in WITHOUT_BINARY
    ]
    measured: dict[str, list[Figure]] = {name: [] for name in able}
    for _ in range(rounds):
        for name in able:
            measured[name].append(ask(contenders[name], task, seconds))
    return describe(task, measured)


if __name__ == "__main__":
    main()
