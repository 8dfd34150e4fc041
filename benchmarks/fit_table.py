"""From a table on disk to a trained model, one epoch, beside pandas and the tutorial's loop.

python benchmarks/fit_table.py [--rows 1000000] [--batch-size 32] [--runs 3] [--write]

Both read the same CSV file, hold out a fifth of the rows, fit the tutorial's network for one epoch
with TensorBoard logging and save it; ours also checks the table. Times run from opening the file to
the saved model; the time of the whole process, including the import of torch, is given too. Exits
with 1 when ours is not ten times as fast from file to model.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import inputs
import measure

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

PEER = Path(__file__).parent / "peers" / "pandas_tutorial.py"
OURS, THEIRS = "trainer fit --data", "pandas + the tutorial's loop"
TARGET = 10.0
# One network of 32 units by plain gradient descent, as the tutorial has it.
NETWORK = ("--members", "1", "--hidden", "32", "--bins", "0", "--optimiser", "sgd")
PACKAGES = ("onnxferry", "torch", "pyarrow", "pandas", "numpy")


class Fit(NamedTuple):
    """One run: seconds from file to model and of the whole process, and how good the model is."""

    fitted: float
    process: float
    accuracy: float


def main() -> int:
    """Write the table, race the two, report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--write", action="store_true", help="keep the result")
    args = parser.parse_args()
    with inputs.work_folder(args.rows * 100) as folder:
        source = folder / "in.csv"
        inputs.write_table(source, "products", args.rows)
        commands = {
            OURS: our_command(source, args.batch_size, folder / "run"),
            THEIRS: [sys.executable, str(PEER), str(source), str(args.batch_size), str(folder)],
        }
        fits = race(commands, args.runs)
        where = inputs.describe_folder(folder)
    faster, whole = (ratio(fits, unit) for unit in ("fitted", "process"))
    rows = [
        ("times as fast from file to model", faster, f"≥ {TARGET:.0f}"),
        ("times as fast as a whole process", whole, ""),
    ]
    title = f"{args.rows:,} rows from CSV to a fitted model, batches of {args.batch_size}"
    body = f"{table(fits)}\n\n{measure.targets(rows)}\n\n{where}"
    measure.report("fit_table", title, body, PACKAGES, write=args.write)
    return 0 if faster >= TARGET else 1


def our_command(source: Path, batch_size: int, out: Path) -> Sequence[str]:
    """The command line of ours."""
    options = {"data": source, "label": "popular", "out": out, "device": "cpu", "epochs": 1}
    words = [word for name, value in options.items() for word in (f"--{name}", str(value))]
    return [
        *(sys.executable, "-m", "trainer", "fit", *words),
        *NETWORK,
        *("--batch-size", str(batch_size), "--json"),
    ]


def race(commands: Mapping[str, Sequence[str]], runs: int) -> dict[str, list[Fit]]:
    """Run the commands in turn, once uncounted; each prints ``seconds`` and ``accuracy``."""
    fits: dict[str, list[Fit]] = {name: [] for name in commands}
    for turn in range(runs + 1):
        for name, command in commands.items():
            started = time.perf_counter()
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            process = time.perf_counter() - started
            if done.returncode:
                sys.exit(f"{' '.join(command)} failed:\n{done.stderr}")
            said = json.loads(done.stdout)
            if turn:
                fits[name].append(Fit(said["seconds"], process, said["accuracy"]))
    return fits


def ratio(fits: Mapping[str, Sequence[Fit]], unit: str) -> float:
    """Theirs over ours, the median over the runs taken in turn."""
    pairs = zip(fits[THEIRS], fits[OURS], strict=True)
    ratios = (getattr(theirs, unit) / getattr(ours, unit) for theirs, ours in pairs)
    return float(statistics.median(ratios))


def table(fits: Mapping[str, Sequence[Fit]]) -> str:
    """Write medians."""
    lines = ["| | file to model, s | whole process, s | accuracy |", "|---|---|---|---|"]
    for name, runs in fits.items():
        fitted, process, accuracy = (
            statistics.median(column) for column in zip(*runs, strict=True)
        )
        lines.append(f"| {name} | {fitted:.2f} | {process:.2f} | {accuracy:.2%} |")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
