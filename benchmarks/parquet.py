"""Parquet to Parquet, beside polars and pyarrow; with no, one and all columns carried.

python benchmarks/parquet.py [--rows 10000000] [--runs 5] [--write]
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import inputs
import measure

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

PEERS = Path(__file__).parent / "peers"
OURS = "runtime predict"
SCRIPTS = {"polars + onnxruntime": "polars_parquet", "pyarrow + onnxruntime": "pyarrow_parquet"}
KEPT = "id"
BYTES_A_ROW = 40  # of the table and of each output, on the safe side
PACKAGES = ("onnxferry", "onnxruntime-gpu", "pyarrow", "polars", "numpy")


def main() -> None:
    """Make the table, time the contenders, compare their outputs, report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--bundle", default="artifacts/bundle")
    parser.add_argument("--write", action="store_true", help="keep the result")
    args = parser.parse_args()
    require_columns_option()
    with inputs.work_folder(args.rows * BYTES_A_ROW * (2 + len(SCRIPTS))) as folder:
        source = folder / "in.parquet"
        inputs.write_parquet(source, args.rows)
        parts = [
            contest(source, args, []),
            contest(source, args, [KEPT]),
            contest(source, args, None),
            inputs.describe_folder(folder),
        ]
    title = f"Scoring {args.rows:,} products, Parquet to Parquet"
    measure.report("parquet", title, "\n\n".join(parts), PACKAGES, write=args.write)


def require_columns_option() -> None:
    """Stop where the command cannot do what is measured here.

    Raises:
        SystemExit: when ``runtime predict`` has no ``--columns``.
    """
    helping = [sys.executable, "-m", "runtime", "predict", "--help"]
    if (
        "--columns"
        not in subprocess.run(helping, capture_output=True, text=True, check=True).stdout
    ):
        sys.exit("runtime predict has no --columns yet, which this benchmark measures")


def contest(source: Path, args: argparse.Namespace, kept: Sequence[str] | None) -> str:
    """Race the contenders; all columns are carried through where ``kept`` is None."""
    outs = {name: source.parent / f"out{at}.parquet" for at, name in enumerate([OURS, *SCRIPTS])}
    commands = {name: command(name, source, args.bundle, out, kept) for name, out in outs.items()}
    measured = measure.race(commands, args.runs)
    asked_for = "" if kept is None else ",".join(kept) or '""'
    title = f"**`--columns {asked_for}`**" if asked_for else "**All columns carried through**"
    speed = {name: args.rows / measure.middle(runs, "wall") for name, runs in measured.items()}
    rates = ", ".join(f"{name} {rate / 1e6:.1f} M" for name, rate in speed.items())
    parts = [title, measure.table(measured), f"Rows a second: {rates}."]
    if not kept and kept is not None:
        asked = ("ours, million rows a second", speed[OURS] / 1e6, "at least 10")
        parts.append(measure.targets([asked]))
    return "\n\n".join([*parts, agreement(outs, kept)])


def command(
    name: str, source: Path, bundle: str, out: Path, kept: Sequence[str] | None
) -> list[str]:
    """Write the command line of a contender."""
    if name != OURS:
        script = PEERS / f"{SCRIPTS[name]}.py"
        chosen = [] if kept is None else ["--columns", *kept]
        return [sys.executable, str(script), str(source), bundle, str(out), *chosen]
    files = ["--file", str(source), "--out", str(out), "--bundle", bundle]
    columns = [] if kept is None else ["--columns", ",".join(kept)]
    return [sys.executable, "-m", "runtime", "predict", *files, "--provider", "cpu", *columns]


def agreement(outs: Mapping[str, Path], kept: Sequence[str] | None) -> str:
    """Check that all wrote the same columns, identifiers and labels.

    Raises:
        SystemExit: when one differs from ours.
    """
    import polars as pl

    def read(name: str) -> pl.DataFrame:
        return pl.read_parquet(outs[name]).with_columns(pl.col("label").cast(pl.String))

    ours = read(OURS)
    if kept is not None and ours.columns != [*kept, "label", "probability"]:
        sys.exit(f"{OURS} wrote the columns {ours.columns}")
    for name in SCRIPTS:
        theirs = read(name)
        if theirs.columns != ours.columns or not theirs.equals(ours):
            sys.exit(f"{name} and {OURS} differ in what they wrote")
    return f"All wrote the same {len(ours):,} rows: columns, labels and probabilities."


if __name__ == "__main__":
    main()
