"""Overload: the latency of admitted requests when more clients send than the server admits.

The reference load is 64 clients, each sending its next request as soon as it has a response; none
of them may be rejected. Then four times as many send. Rejected clients retry at once, which is the
worst case, or after the second of Retry-After. The loads alternate, round after round; figures are
medians over the rounds, ratios medians over the pairs.

python benchmarks/overload.py [--rounds 5] [--seconds 1.5] [--write]
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
from serving.contenders import ours

CROWD = Path(__file__).parent / "serving" / "crowd.py"
BUSY, MANY = 64, 256


@dataclass(frozen=True)
class Load:
    """Clients, their requests, and whether they obey Retry-After."""

    connections: int
    rows: int
    patient: bool = False

    @property
    def name(self) -> str:
        """Description."""
        waits = ", obeying Retry-After" if self.patient else ""
        rows = "1 row" if self.rows == 1 else f"{self.rows:,} rows"
        return f"{rows}, {self.connections} client{'s' * (self.connections > 1)}{waits}"


LOADS = (
    Load(1, 1),
    Load(BUSY, 1),
    Load(MANY, 1),
    Load(MANY, 1, patient=True),
    Load(BUSY, 1024),
    Load(MANY, 1024),
    Load(MANY, 1024, patient=True),
)
Figures = dict[str, float]


def ask(port: int, load: Load, seconds: float) -> Figures:
    """Put a load on the server, in another process."""
    words = [f"--port={port}", f"--rows={load.rows}", f"--connections={load.connections}"]
    words += [f"--seconds={seconds}", *(["--patient"] if load.patient else [])]
    path = {**os.environ, "PYTHONPATH": str(CROWD.parents[1])}
    done = subprocess.run(
        [sys.executable, CROWD, *words], capture_output=True, check=True, env=path
    )
    found: Figures = json.loads(done.stdout)
    if found["wrong"]:
        raise SystemExit(f"{load.name}: {found['wrong']} answers were neither 200 nor 503")
    return found


def middle(figures: list[Figures], unit: str) -> float:
    """Take the median of a unit."""
    return float(statistics.median(one[unit] for one in figures))


def describe(measured: dict[Load, list[Figures]]) -> str:
    """Format the table; ratios are to the same rows and 64 clients."""
    lines = [
        (
            "| load | served/s | p50 ms | p99 ms | p99 ÷ that of 64 clients | rejected/s "
            "| p50 ms | p99 ms | after an immediate retry, p50 ms | health p50 ms | p99 ms |"
        ),
        "|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for load, figures in measured.items():
        busy = measured[Load(BUSY, load.rows)]
        pairs = zip(figures, busy, strict=True)
        ratio = statistics.median(one["served_p99"] / other["served_p99"] for one, other in pairs)
        columns = [f"{middle(figures, 'served'):,.0f}"]
        columns += [f"{middle(figures, f'served_{at}'):.2f}" for at in ("p50", "p99")]
        columns += [f"{ratio:.2f}", f"{middle(figures, 'refused'):,.0f}"]
        columns += [f"{middle(figures, f'refused_{at}'):.2f}" for at in ("p50", "p99")]
        columns.append(f"{middle(figures, 'again_p50'):.1f}")
        columns += [f"{middle(figures, f'health_{at}'):.2f}" for at in ("p50", "p99")]
        lines.append(f"| {load.name} | {' | '.join(columns)} |")
    return "\n".join(lines)


def main() -> None:
    """Serve, load, report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bundle", type=Path, default=Path("artifacts/bundle"))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=1.5)
    parser.add_argument("--write", action="store_true", help="keep the result")
    args = parser.parse_args()
    measured: dict[Load, list[Figures]] = {load: [] for load in LOADS}
    server = ours(args.bundle.resolve())()
    try:
        for _ in range(args.rounds):
            for load in LOADS:
                measured[load].append(ask(server.port, load, args.seconds))
    finally:
        server.stop()
    shed = sum(one["refused"] for rows in (1, 1024) for one in measured[Load(BUSY, rows)])
    measure.report(
        "overload",
        "Overload: more clients than are admitted",
        describe(measured),
        ("onnxferry", "onnxruntime-gpu", "uvloop", "httptools"),
        note=(
            "The server reads nothing for 0.1 s from a rejected client that retries at once; the "
            "latency of these retries has a column of its own. `--max-in-flight` is its "
            f"default. Of 64 clients' requests {shed:.0f} were "
            "rejected. All clients are one process on the same two processors, whose time is in "
            f"these figures; the machine's load average was {os.getloadavg()[0]:.1f} at the end, "
            "two of it this benchmark's."
        ),
        write=args.write,
    )


if __name__ == "__main__":
    main()
