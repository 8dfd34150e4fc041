"""A table from the disk to a fitted model: ours beside pandas and the tutorial's loop, one epoch.

python benchmarks/fit_table.py [--rows 1000000] [--batch-size 32] [--runs 3] [--write]

Both read the same CSV file, set a fifth of the rows aside, fit SimpleNet for one epoch with
TensorBoard's files and save it; ours also checks the table. Ends with 1 when ours is not ten
times as fast.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import inputs
import measure

if TYPE_CHECKING:
    from collections.abc import Sequence

PEER = Path(__file__).parent / "peers" / "pandas_tutorial.py"
OURS, THEIRS = "trainer fit --data", "pandas + the tutorial's loop"
TARGET = 10.0
PACKAGES = ("onnxferry", "torch", "pyarrow", "pandas", "numpy")


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
        measured = measure.race(commands, args.runs)
        where = inputs.describe_folder(folder)
    faster = measure.ratio(measured[THEIRS], measured[OURS], "wall")
    asked = measure.targets([("times as fast as pandas + the tutorial's loop", faster, "≥ 10")])
    title = (
        f"{args.rows:,} rows from CSV to a fitted model, one epoch, batches of {args.batch_size}"
    )
    body = f"{measure.table(measured)}\n\n{asked}\n\n{where}"
    measure.report("fit_table", title, body, PACKAGES, write=args.write)
    return 0 if faster >= TARGET else 1


def our_command(source: Path, batch_size: int, out: Path) -> Sequence[str]:
    """The command line of ours."""
    options = {"data": source, "label": "popular", "out": out, "device": "cpu", "epochs": 1}
    words = [word for name, value in options.items() for word in (f"--{name}", str(value))]
    return [sys.executable, "-m", "trainer", "fit", *words, "--batch-size", str(batch_size)]


if __name__ == "__main__":
    sys.exit(main())
