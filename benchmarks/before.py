"""This runtime beside that of another clone, such as an earlier commit: start-up, files, serving.

Commands and servers of both run in turn in this environment; load and machine are the same. Ratios
are ours ÷ the other's; where the machine is busy, compare CPU.

python benchmarks/before.py DIR [--rows 2000000] [--runs 9] [--rounds 7] [--seconds 1]
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import measure
import numpy as np
import pyarrow as pa
import serve
from pyarrow import csv, parquet
from serving.contenders import Contender, free_port, start

CHECKOUT = Path(__file__).parents[1]
TASKS = (
    serve.Task("1 row, JSON, 1 connection", "json", 1, 1),
    serve.Task("1 row, JSON, 64 connections", "json", 1, 64),
    serve.Task("1024 rows, JSON, 8 connections", "json", 1024, 8),
)
# Predictions of tables in memory: a row, then a thousand rows at a time.
IN_MEMORY = """
import sys, numpy as np, pyarrow as pa
from runtime import Predictor
predictor = Predictor(sys.argv[1])
if sys.argv[2:]:
    sys.exit()
values = np.random.default_rng(0).uniform(1, 5, (1024, 2))
table = pa.table({"price": values[:, 0], "rating": values[:, 1]})
for _ in range(3000):
    predictor.predict({"price": 7.5, "rating": 3.0})
for _ in range(2000):
    predictor.predict_table(table)
"""


def command(clone: Path, *words: str) -> list[str]:
    """Return a Python command that imports the packages of a clone."""
    return ["env", f"PYTHONPATH={clone}", sys.executable, "-P", *words]


def can_predict(clone: Path, bundle: str) -> bool:
    """Whether a clone has today's interface to Python."""
    probe = command(clone, "-c", IN_MEMORY, bundle, "probe")
    return not subprocess.run(probe, check=False, capture_output=True).returncode


def make_table(path: Path, rows: int) -> None:
    """Write products as CSV or Parquet."""
    values = np.random.default_rng(0).uniform(1, 5, (rows, 2)).round(2)
    table = pa.table({"price": values[:, 0], "rating": values[:, 1]})
    if path.suffix == ".csv":
        csv.write_csv(table, path, csv.WriteOptions(quoting_style="none"))
    else:
        parquet.write_table(table, path)


def race_commands(clones: dict[str, Path], args: argparse.Namespace, folder: Path) -> list[str]:
    """Run commands of both in turn; return a line for each kind."""
    bundle = str(args.bundle.resolve())
    lines = []
    for title, rows, ending in (
        ("10 rows, CSV: start-up", 10, "csv"),
        (f"{args.rows:,} rows, CSV", args.rows, "csv"),
        (f"{args.rows:,} rows, Parquet", args.rows, "parquet"),
        ("in memory", 0, ""),
    ):
        source = folder / f"{rows}.{ending}"
        if rows:
            make_table(source, rows)
        contenders = {}
        for name, clone in clones.items():
            out = str(folder / f"{name}.{ending}")
            words = ["-m", "runtime", "predict", "--provider", "cpu", "--bundle", bundle]
            words += ["--file", str(source), "--out", out]
            contenders[name] = command(clone, *(words if rows else ("-c", IN_MEMORY, bundle)))
        if not rows and not can_predict(clones["other"], bundle):
            continue
        measured = measure.race(contenders, args.runs)
        ours, theirs = measured.values()
        ratios = " | ".join(f"{measure.ratio(ours, theirs, unit):.3f}" for unit in UNITS)
        both = " | ".join(f"{measure.middle(each, 'cpu'):.3f}" for each in (ours, theirs))
        lines.append(f"| {title} | {both} | {ratios} |")
    return lines


UNITS = ("cpu", "wall", "peak")


def race_servers(clones: dict[str, Path], args: argparse.Namespace) -> list[str]:
    """Load servers of both in turn; return a line for each task."""
    contenders: dict[str, Contender] = {}
    lines = []
    try:
        for name, clone in clones.items():
            port = free_port()
            words = ["-m", "runtime", "serve", "--provider", "cpu", "--port", str(port)]
            words += ["--bundle", str(args.bundle.resolve())]
            contenders[name] = start(command(clone, *words), port, {})
        for task in TASKS:
            found: dict[str, list[serve.Figure]] = {name: [] for name in contenders}
            for turn in range(args.rounds):
                for name in measure.rotate(list(contenders), turn):
                    found[name].append(serve.ask(contenders[name], task, args.seconds))
            ours, theirs = found.values()
            both = " | ".join(f"{serve.middle(each, 'cpu_us'):.1f}" for each in (ours, theirs))
            units = ("cpu_us", "per_second", "p50_ms")
            ratios = " | ".join(f"{serve.ratio(ours, theirs, unit):.3f}" for unit in units)
            lines.append(f"| {task.name} | {both} | {ratios} |")
    finally:
        for one in contenders.values():
            one.stop()
    return lines


def main() -> None:
    """Run both, report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("other", type=Path, help="another clone")
    parser.add_argument("--bundle", type=Path, default=Path("artifacts/bundle"))
    parser.add_argument("--rows", type=int, default=2_000_000)
    parser.add_argument("--runs", type=int, default=9)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=1.0)
    args = parser.parse_args()
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # pip compiles what it installs
    clones = {"ours": CHECKOUT, "other": args.other.resolve()}
    with tempfile.TemporaryDirectory() as folder:
        files = race_commands(clones, args, Path(folder))
    servers = race_servers(clones, args)
    body = [
        "| runtime predict | CPU s | other | CPU ÷ | wall ÷ | memory ÷ |",
        "|---|---|---|---|---|---|",
        *files,
        "",
        "| runtime serve | CPU µs a request | other | CPU ÷ | requests/s ÷ | p50 ÷ |",
        "|---|---|---|---|---|---|",
        *servers,
        "",
        f"Load average at the end: {os.getloadavg()[0]:.1f}.",
    ]
    packages = ("onnxruntime-gpu", "pyarrow", "uvloop")
    measure.report("before", f"Ours beside {args.other}", "\n".join(body), packages, write=False)


if __name__ == "__main__":
    main()
