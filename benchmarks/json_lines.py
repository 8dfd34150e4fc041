"""Score JSON Lines, beside polars and pandas; and ours on a file with bad rows.

python benchmarks/json_lines.py [--rows 1000000] [--runs 5] [--write]
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import inputs
import measure

if TYPE_CHECKING:
    from collections.abc import Mapping

PEERS = Path(__file__).parent / "peers"
OURS = "runtime predict"
SCRIPTS = {"polars + onnxruntime": "polars_ndjson", "pandas + onnxruntime": "pandas_json_lines"}
WITH_BAD_ROWS = {"clean rows": "clean", "1 bad row in 1,000": "dirty"}
BYTES_A_ROW = 120  # of a table and of each output, on the safe side
PACKAGES = ("onnxferry", "onnxruntime-gpu", "msgspec", "pyarrow", "polars", "pandas", "numpy")


def main() -> None:
    """Write the tables, time the contenders, compare their outputs, report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--bundle", default="artifacts/bundle")
    parser.add_argument("--write", action="store_true", help="keep the result")
    args = parser.parse_args()
    with inputs.work_folder(args.rows * BYTES_A_ROW * (3 + len(SCRIPTS))) as folder:
        inputs.write_json_lines(folder / "clean.jsonl", args.rows)
        inputs.write_json_lines(folder / "dirty.jsonl", args.rows, bad_every=1000)
        parts = [compare(folder, args), bad_rows(folder, args), inputs.describe_folder(folder)]
    title = f"Scoring {args.rows:,} products, JSON Lines to JSON Lines"
    measure.report("json_lines", title, "\n\n".join(parts), PACKAGES, write=args.write)


def compare(folder: Path, args: argparse.Namespace) -> str:
    """Time ours and the peers over a clean table."""
    source = folder / "clean.jsonl"
    outs = {name: folder / f"out{at}.jsonl" for at, name in enumerate([OURS, *SCRIPTS])}
    commands = {OURS: predict(source, outs[OURS], args.bundle)}
    for name, script in SCRIPTS.items():
        path = PEERS / f"{script}.py"
        commands[name] = [sys.executable, str(path), str(source), args.bundle, str(outs[name])]
    measured = measure.race(commands, args.runs)
    parts = [measure.table(measured), rates(measured, args.rows), agreement(source, outs)]
    return "\n\n".join(parts)


def bad_rows(folder: Path, args: argparse.Namespace) -> str:
    """Time ours over a clean table and over one with bad rows, which are listed apart."""
    rejecting = ["--bad-rows", "reject", "--rejects", str(folder / "rejects.csv")]
    commands = {
        name: [*predict(folder / f"{table}.jsonl", folder / "out.jsonl", args.bundle), *rejecting]
        for name, table in WITH_BAD_ROWS.items()
    }
    measured = measure.race(commands, args.runs)
    title = "**`--bad-rows reject`: no JSON, no number, missing values, doubled keys**"
    return "\n\n".join([title, measure.table(measured), rates(measured, args.rows)])


def predict(source: Path, out: Path, bundle: str) -> list[str]:
    """Write the command line of ours."""
    files = ["--file", str(source), "--out", str(out), "--bundle", bundle]
    return [sys.executable, "-m", "runtime", "predict", *files, "--provider", "cpu"]


def rates(measured: Mapping[str, list[measure.Run]], rows: int) -> str:
    """Write rows a second by wall time and by processor time."""
    parts = [
        f"{name} {rows / measure.middle(runs, 'wall') / 1e3:,.0f} k "
        f"({rows / measure.middle(runs, 'cpu') / 1e3:,.0f} k a CPU second)"
        for name, runs in measured.items()
    ]
    return f"Rows a second: {', '.join(parts)}."


def agreement(source: Path, outs: Mapping[str, Path]) -> str:
    """Check that all wrote the same labels, and that ours kept each record byte for byte.

    Raises:
        SystemExit: when one does not.
    """
    import polars as pl

    def labels(name: str) -> pl.Series:
        return pl.read_ndjson(outs[name])["label"]

    ours = labels(OURS)
    for name in SCRIPTS:
        if not labels(name).equals(ours):
            sys.exit(f"{name} and {OURS} differ in their labels")
    with source.open("rb") as before, outs[OURS].open("rb") as after:
        for number, (line, scored) in enumerate(zip(before, after, strict=True), 1):
            if not scored.startswith(line.removesuffix(b"}\n") + b', "label": '):
                sys.exit(f"record {number} was not carried through: {line!r} became {scored!r}")
    return (
        f"All wrote the same label in each of {len(ours):,} rows; ours kept every record "
        "byte for byte (checked line by line)."
    )


if __name__ == "__main__":
    main()
