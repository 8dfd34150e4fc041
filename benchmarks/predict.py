"""Score a CSV file, beside the limit without a model and scripts written by hand, in one run.

python benchmarks/predict.py [--rows 10000000] [--table products] [--runs 5] [--write]
python benchmarks/predict.py --large [--runs 3] [--write]

With ``--large``, ours and the limit over 50 million rows, and ours over 10 million beside them.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import inputs
import measure

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

PEERS = Path(__file__).parent / "peers"
OURS = "runtime predict"
LIMIT = "limit: polars scan, sink, no model"
BY_HAND = {
    "polars map_batches + onnxruntime": "polars_map_batches",
    "polars collect_batches + onnxruntime": "polars_collect_batches",
}
SLOW = {
    "pyarrow stream + onnxruntime": "pyarrow_onnxruntime",
    "pandas + onnxruntime": "pandas_onnxruntime",
}
SCRIPTS = {LIMIT: "polars_pass_through", **BY_HAND, **SLOW}
MILLION = 1_000_000
LARGE_ROWS, SMALL_ROWS = 50 * MILLION, 10 * MILLION
SMALLER = f"{OURS}, 10 M rows"
PACKAGES = ("onnxferry", "onnxruntime-gpu", "pyarrow", "polars", "pandas", "numpy")
Measured = dict[str, list[measure.Run]]


def main() -> None:
    """Make the tables, time the contenders, compare their outputs, report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=SMALL_ROWS)
    parser.add_argument("--table", choices=tuple(inputs.BYTES_A_ROW), default="products")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--large", action="store_true", help="50 M rows, and the memory they take")
    parser.add_argument("--bundle", default="artifacts/bundle")
    parser.add_argument("--write", action="store_true", help="keep the result")
    args = parser.parse_args()
    work = large if args.large else contest
    rows = LARGE_ROWS if args.large else args.rows
    row = inputs.BYTES_A_ROW[args.table]
    files = 2 if args.large else len(SCRIPTS) + 1
    with inputs.work_folder(rows * (row + files * (row + 20))) as folder:
        body = f"{work(folder, args)}\n\n{inputs.describe_folder(folder)}"
    table = "" if args.table == "products" else f"_{args.table}"
    name = f"predict{table}" + ("_large" if args.large else "")
    title = f"Scoring {rows:,} rows of the table {args.table!r}, CSV to CSV"
    measure.report(name, title, body, PACKAGES, write=args.write)


def contest(folder: Path, args: argparse.Namespace) -> str:
    """All contenders over one table."""
    source = folder / "in.csv"
    inputs.write_table(source, args.table, args.rows)
    outs = {name: folder / f"out{at}.csv" for at, name in enumerate([OURS, *SCRIPTS])}
    commands = {name: command(name, source, args.bundle, out) for name, out in outs.items()}
    measured = measure.race(commands, args.runs)
    parts = [
        measure.table(measured),
        targets(measured),
        agreement(outs),
        carried(source, outs[OURS]),
    ]
    return "\n\n".join(parts)


def large(folder: Path, args: argparse.Namespace) -> str:
    """Ours and the limit over 50 M rows, ours over 10 M."""
    source, small, out = (folder / name for name in ("in.csv", "small.csv", "out.csv"))
    inputs.write_table(source, args.table, LARGE_ROWS)
    inputs.write_table(small, args.table, SMALL_ROWS)
    commands = {
        OURS: command(OURS, source, args.bundle, out),
        LIMIT: command(LIMIT, source, args.bundle, folder / "limit.csv"),
        SMALLER: command(OURS, small, args.bundle, folder / "small_out.csv"),
    }
    measured = measure.race(commands, args.runs)
    ours = measured[OURS]
    rows = [
        ("ours ÷ limit, wall", measure.ratio(ours, measured[LIMIT], "wall"), "at most 1.8"),
        (
            "anonymous memory, 50 M rows ÷ 10 M rows",
            measure.ratio(ours, measured[SMALLER], "anonymous"),
            "0.8 to 1.2",
        ),
        ("ours, anonymous MiB", measure.middle(ours, "anonymous"), "at most 350"),
    ]
    return "\n\n".join([measure.table(measured), measure.targets(rows), carried(source, out)])


def command(name: str, source: Path, bundle: str, out: Path) -> list[str]:
    """Write the command line of a contender."""
    if name != OURS:
        return [sys.executable, str(PEERS / f"{SCRIPTS[name]}.py"), str(source), bundle, str(out)]
    files = ["--file", str(source), "--out", str(out), "--bundle", bundle]
    return [sys.executable, "-m", "runtime", "predict", *files, "--provider", "cpu"]


def targets(measured: Mapping[str, Sequence[measure.Run]]) -> str:
    """Compare ours with the targets."""
    ours = measured[OURS]
    best = min(BY_HAND, key=lambda name: measure.middle(measured[name], "wall"))
    pandas = measured["pandas + onnxruntime"]
    rows = [
        ("ours ÷ limit, wall", measure.ratio(ours, measured[LIMIT], "wall"), "at most 1.5"),
        (f"{best} ÷ ours, wall", measure.ratio(measured[best], ours, "wall"), "at least 1.5"),
        ("pandas + onnxruntime ÷ ours, wall", measure.ratio(pandas, ours, "wall"), "at least 10"),
        ("ours, anonymous MiB", measure.middle(ours, "anonymous"), "at most 350"),
    ]
    return measure.targets(rows)


def agreement(outs: Mapping[str, Path]) -> str:
    """Count the rows in which all contenders with a model give the same label as ours."""
    import polars as pl

    def labels(name: str) -> pl.Series:
        return pl.read_csv(outs[name], columns=["label"], infer_schema=False)["label"]

    ours = labels(OURS)
    same = {name: int((labels(name) == ours).sum()) for name in (*BY_HAND, *SLOW)}
    if all(count == len(ours) for count in same.values()):
        return f"All name the same label in each of {len(ours):,} rows."
    counts = "; ".join(f"{name}: {count:,}" for name, count in same.items())
    return f"Labels agree with ours, of {len(ours):,} rows: {counts}."


def carried(source: Path, out: Path) -> str:
    """Check that every line of the output begins with the input's, byte for byte.

    Raises:
        SystemExit: when one does not, or there are more lines in one of them.
    """
    with source.open("rb") as before, out.open("rb") as after:
        for number, (line, scored) in enumerate(zip(before, after, strict=False), 1):
            if not scored.startswith(line[:-1] + b","):
                sys.exit(f"line {number} was not carried through: {line!r} became {scored!r}")
        if before.read(1) or after.read(1):
            sys.exit(f"{source} and {out} differ in their number of lines")
    return "Ours carries every column through, byte for byte (checked line by line)."


if __name__ == "__main__":
    main()
