"""What the presets cost: to fit, to prove and to score, beside XGBoost and MLPClassifier.

    python benchmarks/presets.py [--rows 1000] [--columns 20] [--scored 200000] [--runs 3] [--write]

A table of numbers whose classes depend on steps and products of them is fitted by all contenders in
turn, each with two threads. Ours are exported, which proves them, and score a Parquet file with
``runtime predict``; the peers predict the same rows in memory, which leaves out their reading and
writing. The environment of the peers is the one of benchmarks/public_tables.py.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import inputs
import measure
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from public_tables import peers_python

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

PEER_PROGRAM = Path(__file__).parent / "peers" / "boosted_trees.py"
# Options of ``trainer fit`` by contender.
OURS: dict[str, tuple[str, ...]] = {
    "default": (),
    "accurate": ("--preset", "accurate"),
    "one network of 32": ("--members", "1", "--hidden", "32", "--bins", "0"),
}
PEERS = ("XGBoost", "MLPClassifier")
PACKAGES = ("onnxferry", "torch", "pyarrow", "numpy")
TYPICAL_THREADS = "2"


class Costs(NamedTuple):
    """One turn: seconds to fit, rows scored a second, accuracy on the rows that are scored."""

    fit: float
    rate: float
    accuracy: float


class Proof(NamedTuple):
    """How an export went: seconds, worst error of its bound, share of undecidable rows."""

    seconds: float
    tightness: float
    undecidable: int


def main() -> None:
    """Write the tables, run the contenders in turn, report."""
    args = parse()
    python = peers_python(args.peers.resolve())
    with inputs.work_folder(args.scored * args.columns * 16) as folder:
        write_tables(folder, args.rows, args.columns, args.scored)
        proofs: dict[str, Proof] = {}
        costs: dict[str, list[Costs]] = {name: [] for name in (*OURS, *PEERS)}
        for turn in range(args.runs):
            for name in measure.rotate(list(costs), turn):
                if name in OURS:
                    cost, proof = run_ours(folder, name)
                    proofs.setdefault(name, proof)
                else:
                    cost = run_peer(python, folder, name)
                costs[name].append(cost)
    title = (
        f"Presets on {args.rows:,} training rows of {args.columns} numbers, "
        f"{args.scored:,} rows scored"
    )
    measure.report("presets", title, format_body(costs, proofs), PACKAGES, write=args.write)


def parse() -> argparse.Namespace:
    """Parse the options."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=1000)
    parser.add_argument("--columns", type=int, default=20)
    parser.add_argument("--scored", type=int, default=200_000)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--peers", type=Path, default=Path("artifacts/peers"))
    parser.add_argument("--write", action="store_true", help="keep the result")
    return parser.parse_args()


def write_tables(folder: Path, rows: int, columns: int, scored: int) -> None:
    """Write the tables to fit and to score."""
    generator = np.random.default_rng(1)
    for name, count in (("train", rows), ("scored", scored)):
        numbers = generator.normal(size=(count, columns)).astype(np.float32)
        score = numbers[:, 0] * numbers[:, 1] + (numbers[:, 2] > 0.5) - 0.7 * np.abs(numbers[:, 3])
        noise = generator.normal(size=count) / 4
        table = {f"x{at}": numbers[:, at] for at in range(columns)}
        labels = np.where(score + noise > 0, "yes", "no")
        pq.write_table(pa.table(table | {"y": labels}), folder / f"{name}.parquet")
        np.savez(folder / f"{name}.npz", numbers=numbers, labels=labels == "yes")


def run_ours(folder: Path, name: str) -> tuple[Costs, Proof]:
    """Fit, export and score."""
    train, run, bundle = (folder / part for part in ("train.parquet", "run", "bundle"))
    table = ("--data", train, "--test", train, "--label", "y", "--device", "cpu")
    fitted = measure.told("trainer", "fit", *table, *OURS[name], "--out", run)
    exported = measure.told("exporter", "export", "--run", run, "--out", bundle)
    words = ("--bundle", bundle, "--provider", "cpu", "--prefix", "p_", "--truth", "y")
    file, out = folder / "scored.parquet", folder / "out.parquet"
    told = measure.told("runtime", "predict", *words, "--file", file, "--out", out, "--force")
    predicted = pq.read_table(out, columns=["y", "p_label"])
    accuracy = np.mean(predicted["y"].to_numpy() == predicted["p_label"].to_numpy())
    costs = Costs(fitted["seconds"], told["rows"] / told["seconds"], float(accuracy))
    proof = Proof(
        exported["seconds"], exported["worst_error_over_bound"], int(exported["undecidable"])
    )
    return costs, proof


def run_peer(python: Path, folder: Path, name: str) -> Costs:
    """Fit and predict in the environment of the peers."""
    line: list[str | Path] = [
        python,
        PEER_PROGRAM,
        name,
        folder / "train.npz",
        folder / "scored.npz",
    ]
    environment = {**os.environ, "OMP_NUM_THREADS": TYPICAL_THREADS}
    done = subprocess.run(line, capture_output=True, text=True, check=True, env=environment)
    return Costs(**json.loads(done.stdout))


def format_body(costs: Mapping[str, Sequence[Costs]], proofs: Mapping[str, Proof]) -> str:
    """Write medians, the proofs and the targets."""
    lines = [
        "| contender | fit, s | rows scored a second | accuracy |",
        "|---|---|---|---|",
    ]
    medians = {
        name: Costs(*map(statistics.median, zip(*runs, strict=True)))
        for name, runs in costs.items()
    }
    lines += [
        f"| {name} | {each.fit:.2f} | {each.rate:,.0f} | {each.accuracy:.1%} |"
        for name, each in medians.items()
    ]
    lines += ["", "| preset | export with proof, s | worst error of its bound | undecidable rows |"]
    lines += ["|---|---|---|---|"]
    lines += [
        f"| {name} | {each.seconds:.1f} | {each.tightness:.3f} | {each.undecidable} |"
        for name, each in proofs.items()
    ]
    pairs = zip(costs["accurate"], costs["default"], strict=True)
    slower = statistics.median(one.fit / other.fit for one, other in pairs)
    rows = [
        ("seconds of the default's fit", medians["default"].fit, "≤ 1"),
        ("times as long for accurate", slower, "≤ 10"),
    ]
    return "\n".join([*lines, "", measure.targets(rows)])


if __name__ == "__main__":
    main()
