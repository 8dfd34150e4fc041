"""Start-up time of `runtime predict` on ten rows, beside its imports and a torch script.

The imports are measured with and without pyarrow's compute module, which most work on a table
needs. Bytecode is cached, as pip does on installation.

python benchmarks/startup.py [--runs 15] [--write]
"""

from __future__ import annotations

import argparse
import csv
import os
import sys
import tempfile
from pathlib import Path

import measure

TORCHSCRIPT = Path(__file__).parent / "peers" / "torchscript.py"
OURS = "runtime predict, ten rows"
IMPORTS = "import onnxruntime, pyarrow.csv, numpy"
WITH_COMPUTE = "import onnxruntime, pyarrow.csv, pyarrow.compute, numpy"
TORCH = "torch script, ten rows"
ROWS = 10


def main() -> None:
    """Time the contenders, compare their outputs, report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=15)
    parser.add_argument("--bundle", default="artifacts/bundle")
    parser.add_argument("--write", action="store_true", help="keep the result")
    args = parser.parse_args()
    python = sys.executable
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    with tempfile.TemporaryDirectory() as folder:
        source, ours, theirs = (str(Path(folder) / name) for name in ("in.csv", "a.csv", "b.csv"))
        measure.run([python, "-m", "trainer", "sample", "--rows", str(ROWS), "--out", source])
        predict = ["predict", "--file", source, "--bundle", args.bundle, "--out", ours]
        contenders = {
            OURS: [python, "-m", "runtime", *predict, "--provider", "cpu"],
            f'python -c "{IMPORTS}"': [python, "-c", IMPORTS],
            f'python -c "{WITH_COMPUTE}"': [python, "-c", WITH_COMPUTE],
            TORCH: [python, str(TORCHSCRIPT), source, args.bundle, theirs],
            'python -c "import torch"': [python, "-c", "import torch"],
        }
        measured = measure.race(contenders, args.runs)
        check_same_labels(Path(ours), Path(theirs))
    _, imports, with_compute, torch, _ = measured.values()
    asked = [
        ("ours ÷ the imports, wall", measure.ratio(measured[OURS], imports, "wall"), "at most 1.3"),
        (
            "ours ÷ the imports with pyarrow.compute, wall",
            measure.ratio(measured[OURS], with_compute, "wall"),
            "at most 1.3",
        ),
        ("ours ÷ the imports, CPU", measure.ratio(measured[OURS], imports, "cpu"), ""),
        (
            "ours ÷ the imports with pyarrow.compute, CPU",
            measure.ratio(measured[OURS], with_compute, "cpu"),
            "",
        ),
        ("torch script ÷ ours, wall", measure.ratio(torch, measured[OURS], "wall"), "at least 4"),
    ]
    measure.report(
        "startup",
        "Start-up of runtime predict",
        f"{measure.table(measured)}\n\n{measure.targets(asked)}",
        ("onnxferry", "onnxruntime-gpu", "pyarrow", "torch"),
        write=args.write,
    )


def check_same_labels(ours: Path, theirs: Path) -> None:
    """Check that both scored all rows alike.

    Raises:
        SystemExit: when rows are missing or a label differs.
    """
    a, b = (
        [row["label"] for row in csv.DictReader(path.open(encoding="utf-8"))]
        for path in (ours, theirs)
    )
    if a != b or len(a) != ROWS:
        sys.exit(f"ours answers {a}, the torch script {b}")


if __name__ == "__main__":
    main()
