"""Score a CSV file: ours beside pandas + onnxruntime, in one run.

python benchmarks/predict.py [--rows 1000000] [--runs 5] [--write]
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

import measure

PEER = Path(__file__).parent / "peers" / "pandas_onnxruntime.py"


def main() -> None:
    """Make the table, race the contenders, compare what they wrote, report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--bundle", default="artifacts/bundle")
    parser.add_argument("--write", action="store_true", help="keep the result")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        source, ours, theirs = (str(Path(folder) / name) for name in ("in.csv", "a.csv", "b.csv"))
        python = sys.executable
        measure.run([python, "-m", "trainer", "sample", "--rows", str(args.rows), "--out", source])
        predict = ["predict", "--file", source, "--bundle", args.bundle, "--provider", "cpu"]
        contenders = {
            "runtime predict": [python, "-m", "runtime", *predict, "--out", ours],
            "pandas + onnxruntime": [python, str(PEER), source, args.bundle, theirs],
        }
        measured = measure.race(contenders, args.runs)
        agreement = compare(Path(ours), Path(theirs))
    measure.report(
        "predict",
        f"Scoring {args.rows:,} products, CSV to CSV",
        f"{measure.table(measured)}\n\n{agreement}",
        ("onnxferry", "onnxruntime-gpu", "pyarrow", "pandas", "numpy"),
        write=args.write,
    )


def compare(ours: Path, theirs: Path) -> str:
    """Say in how many rows the two outputs name the same label."""
    import pandas as pd

    a, b = (pd.read_csv(path)["label"] for path in (ours, theirs))
    return f"Labels agree in {(a == b).sum():,} of {len(a):,} rows."


if __name__ == "__main__":
    main()
