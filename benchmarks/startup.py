"""Start-up: `runtime predict` on ten rows beside the bare import of torch, in one run.

python benchmarks/startup.py [--runs 7] [--write]
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

import measure


def main() -> None:
    """Race the contenders and report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=7)
    parser.add_argument("--bundle", default="artifacts/bundle")
    parser.add_argument("--write", action="store_true", help="keep the result")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        source, out = (str(Path(folder) / name) for name in ("in.csv", "out.csv"))
        python = sys.executable
        measure.run([python, "-m", "trainer", "sample", "--rows", "10", "--out", source])
        predict = ["predict", "--file", source, "--bundle", args.bundle, "--out", out]
        engine = "import onnxruntime, pyarrow.csv, pyarrow.compute"
        contenders = {
            "runtime predict, ten rows": [python, "-m", "runtime", *predict],
            f'python -c "{engine}"': [python, "-c", engine],
            'python -c "import torch"': [python, "-c", "import torch"],
        }
        measured = measure.race(contenders, args.runs)
    measure.report(
        "startup",
        "Start-up of runtime predict",
        measure.table(measured),
        ("onnxferry", "onnxruntime-gpu", "pyarrow", "torch"),
        write=args.write,
    )


if __name__ == "__main__":
    main()
