"""Rows per second of engines beside one machine, in one run: what an engine costs.

Every contender scores the same folder of Parquet files with all columns into a folder, in turns.
A folder of a few rows gives the time to start; the rest is the rate. Contenders whose package is
not installed are left out and named. Two processors of one machine cannot show scaling: the rows at
which a cluster pays are computed from start and rate.

python benchmarks/engines.py [--rows 20000000] [--files 16] [--repeats 3] [--only ray] [--write]
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path

import measure
import numpy as np
import pyarrow as pa
from pyarrow import parquet

WORKERS = (4, 16, 64)  # of a cluster on paper
FEW_ROWS = 1000
RUNTIME = str(Path(sys.executable).with_name("runtime"))
ARGUMENTS = "import sys; bundle, source, out = sys.argv[1:4]; "


@dataclass(frozen=True)
class Contender:
    """A way to score a folder into a folder.

    Attributes:
        name: in the table.
        command: words; ``{bundle}``, ``{source}`` and ``{out}`` are replaced.
        package: that it needs.
        note: what is different.
    """

    name: str
    command: tuple[str, ...]
    package: str | None = None
    note: str = ""

    def run(self, bundle: Path, source: Path, out: Path) -> float:
        """Score; return the seconds of the whole process."""
        shutil.rmtree(out, ignore_errors=True)
        names = {"bundle": bundle, "source": source, "out": out}
        words = [word.format(**names) if "{" in word else word for word in self.command]
        started = time.perf_counter()
        done = subprocess.run(words, capture_output=True, text=True, check=False)
        seconds = time.perf_counter() - started
        if done.returncode:
            raise SystemExit(f"{self.name}: {done.stderr[-2000:]}")
        return seconds


def program(name: str, package: str, code: str, note: str = "") -> Contender:
    """A contender in Python; ``bundle``, ``source`` and ``out`` are its variables."""
    words = (sys.executable, "-c", ARGUMENTS + code, "{bundle}", "{source}", "{out}")
    return Contender(name, words, package, note)


NOTHING = "reads and writes, scores nothing"
OUT_FILE = "import os; os.mkdir(out); "
SPARK = (
    "import os; from pyspark.sql import SparkSession; "
    "os.environ['PYSPARK_PYTHON'] = sys.executable; os.environ['SPARK_LOCAL_IP'] = '127.0.0.1'; "
    "builder = SparkSession.builder.master('local[*]').config('spark.ui.enabled', 'false'); "
    "spark = builder.getOrCreate(); products = spark.read.parquet(source); "
)
FOLDERS = ("--bundle", "{bundle}", "--file", "{source}", "--out", "{out}")
CONTENDERS = (
    Contender("runtime predict", (RUNTIME, "predict", *FOLDERS), note="one process, all cores"),
    Contender(
        "runtime predict --engine ray",
        (RUNTIME, "predict", "--engine", "ray", *FOLDERS),
        "ray",
        "a table a task, our reader and writer; starts Ray",
    ),
    program(
        "Ray Data: score_to",
        "ray",
        "import ray; from runtime.engines.ray import score_to; "
        "score_to(ray.data.read_parquet(source), bundle, out)",
        "Ray reads; scored where it is written",
    ),
    program(
        "Ray Data: score, AtomicParquet",
        "ray",
        "import ray; from runtime.engines.ray import AtomicParquet, score; "
        "score(ray.data.read_parquet(source), bundle).write_datasink(AtomicParquet(out))",
        "Ray reads; a pool of actors that leaves a core; blocks pass through the object store",
    ),
    program(
        "Ray Data without us",
        "ray",
        "import ray; ray.data.read_parquet(source).write_parquet(out)",
        NOTHING,
    ),
    program(
        "Spark: score",
        "pyspark",
        f"{SPARK}from runtime.engines.spark import score; "
        "score(products, bundle).write.parquet(out)",
        "mapInArrow, bundle in the function",
    ),
    program("Spark without us", "pyspark", f"{SPARK}products.write.parquet(out)", NOTHING),
    program(
        "Polars, lazy",
        "polars",
        "import polars; from runtime import Scorer; scorer = Scorer(bundle); "
        "products = polars.scan_parquet(source + '/*.parquet'); "
        "schema = scorer.output_schema(products.collect_schema()); "
        "scored = products.map_batches(scorer, schema=schema, streamable=True); "
        f"{OUT_FILE}scored.sink_parquet(out + '/all.parquet', engine='streaming')",
        "streamed into one file",
    ),
    program(
        "DuckDB",
        "duckdb",
        "import duckdb, pyarrow; from runtime import Scorer; scorer = Scorer(bundle); "
        "connection = duckdb.connect(); products = connection.read_parquet(source + '/*.parquet'); "
        "products = products.to_arrow_reader(65_536); "
        "schema = scorer.output_schema(products.schema); "
        "batches = scorer.batches(products); "
        "scored = pyarrow.RecordBatchReader.from_batches(schema, batches); "
        f"{OUT_FILE}scored = connection.cursor().from_arrow(scored); "
        "scored.write_parquet(out + '/all.parquet')",
        "a reader of batches, into one file",
    ),
    program(
        "Dask",
        "dask",
        "import dask.dataframe; from runtime import Scorer; scorer = Scorer(bundle); "
        "products = dask.dataframe.read_parquet(source); "
        "scored = products.map_partitions(scorer, meta=scorer(products._meta)); "
        "scored.to_parquet(out)",
        "threads, data frames of pandas",
    ),
)


def write_tables(folder: Path, rows: int, files: int) -> None:
    """Write Parquet files with an id and the features."""
    random = np.random.default_rng(0)
    folder.mkdir()
    bounds = np.linspace(0, rows, files + 1).astype(int)
    for number, (first, end) in enumerate(pairwise(bounds)):
        count = int(end - first)
        table = pa.table(
            {
                "id": np.arange(first, end),
                "price": random.uniform(1, 10, count).round(2),
                "rating": random.uniform(1, 5, count).round(2),
            }
        )
        parquet.write_table(table, folder / f"{number:03}.parquet")


def check_rows(contender: Contender, out: Path, rows: int) -> None:
    """Refuse an output with another number of rows."""
    found = sum(parquet.read_metadata(path).num_rows for path in out.rglob("*.parquet"))
    if found != rows:
        raise SystemExit(f"{contender.name}: {found:,} rows, expected {rows:,}")


def describe(name: str, note: str, few: float, many: float, local: float, rows: int) -> str:
    """Format a row: rows per second, start, rate without it, and where a cluster pays."""
    if many <= few:  # too few rows for a rate
        return f"| {name} | {rows / many / 1e6:.2f} | {few:.1f} | - | - | {note} |"
    rate = rows / (many - few)
    pays = []
    for workers in WORKERS if name != CONTENDERS[0].name else ():
        gain = 1 / local - 1 / (workers * rate / measure_processors())
        pays.append(f"{few / gain / 1e6:,.0f} M" if gain > 0 else "never")
    cells = [name, f"{rows / many / 1e6:.2f}", f"{few:.1f}", f"{rate / 1e6:.2f}"]
    return f"| {' | '.join([*cells, ' / '.join(pays) or '-', note])} |"


def measure_processors() -> int:
    """Processors that every contender has used."""
    from runtime.io.processors import available_processors

    return available_processors()


def main() -> None:
    """Run all contenders in turns and report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bundle", type=Path, default=Path("artifacts/bundle"))
    parser.add_argument("--rows", type=int, default=20_000_000)
    parser.add_argument("--files", type=int, default=16)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--only", default="", help="contenders with this package, and the first")
    parser.add_argument("--write", action="store_true", help="keep the result")
    args = parser.parse_args()
    chosen = [each for each in CONTENDERS if not args.only or each.package in {None, args.only}]
    present = [each for each in chosen if each.package is None or find_spec(each.package)]
    seconds: dict[tuple[str, bool], list[float]] = {}
    with tempfile.TemporaryDirectory() as name:
        folder, out = Path(name), Path(name) / "out"
        write_tables(folder / "many", args.rows, args.files)
        write_tables(folder / "few", FEW_ROWS, 1)
        for _ in range(args.repeats):
            for contender in present:
                for is_many, source in ((False, "few"), (True, "many")):
                    took = contender.run(args.bundle.absolute(), folder / source, out)
                    check_rows(contender, out, args.rows if is_many else FEW_ROWS)
                    seconds.setdefault((contender.name, is_many), []).append(took)
    best = {key: statistics.median(values) for key, values in seconds.items()}
    local = args.rows / max(best[present[0].name, True] - best[present[0].name, False], 1e-9)
    head = (
        "| | M rows/s | start, s | M rows/s without start | a cluster of "
        f"{' / '.join(map(str, WORKERS))} cores pays from | |"
    )
    lines = [head, "|---|---|---|---|---|---|"]
    for each in present:
        few, many = best[each.name, False], best[each.name, True]
        lines.append(describe(each.name, each.note, few, many, local, args.rows))
    absent = [each.name for each in chosen if each not in present]
    note = (
        f"Medians of {args.repeats} runs in turns; whole processes. Where a cluster pays is "
        f"computed from start and rate on {measure_processors()} cores, as if it scaled: with "
        "more rows it is done before one machine of this size."
    )
    packages = ["onnxferry", "pyarrow", "onnxruntime-gpu"]
    packages += sorted({each.package for each in present if each.package})
    measure.report(
        "engines",
        f"Engines: {args.rows:,} rows in {args.files} Parquet files",
        "\n".join(lines),
        packages,
        note=note + (f" Not installed: {', '.join(absent)}." if absent else ""),
        write=args.write and not absent,
    )


if __name__ == "__main__":
    main()
