"""Faults on a cluster of Spark, counted by ids: workers, executors, stages, speculation, drivers.

A master and workers on two hosts (loopback addresses) are started once. In each case a driver of
its own scores rows, shuffles and writes them, and something is killed or slow. Beside the ids stand
the rows of runtime.engines.spark.summarize and those that an accumulator of Spark counted.

python benchmarks/spark_faults.py [--bundle DIR] [--rows 200000] [--write]
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import measure
import pyarrow.compute as pc
from pyarrow import parquet
from spark_cluster import kill_once, start_hosts, wait_once

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pyarrow as pa

CASES = {
    "none": "nothing",
    "worker": "a Python worker is killed",
    "executor": "an executor is killed; the stage that scored is repeated",
    "speculation": "a slow task gets a speculative attempt on the other host",
    "driver": "the driver is killed while it writes",
    "again": "the same job again, over what the driver left",
}
SPECULATION = {
    "spark.speculation": "true",
    "spark.speculation.interval": "100ms",
    "spark.speculation.multiplier": "1.5",
    "spark.speculation.quantile": "0.5",
    "spark.speculation.minTaskRuntime": "1s",
}
SLOW_S = 120.0  # of the first attempt; the speculative one ends long before
WAIT_S = 300.0


def drive(case: str, address: str, bundle: Path, folder: Path, rows: int) -> dict[str, Any]:
    """Run a case as the driver; counts of it."""
    from pyspark.sql import SparkSession

    from runtime import Scorer
    from runtime.engines import spark as engine

    settings = {
        "spark.driver.host": "127.0.0.1",
        "spark.executor.memory": "512m",
        "spark.log.level": "OFF",
        "spark.sql.adaptive.enabled": "false",  # one job a query
        "spark.sql.shuffle.partitions": "4",
        "spark.ui.enabled": "false",
        **(SPECULATION if case == "speculation" else {}),
    }
    spark = SparkSession.builder.master(address).config(map=settings).getOrCreate()
    counter, marker = spark.sparkContext.accumulator(0), folder / f"{case}.marker"

    def count(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            counter.add(batch.num_rows)
            yield batch

    df = spark.range(0, rows, 1, 4).selectExpr("id", "id % 97 / 8 AS price", "id % 5 AS rating")
    scorer = Scorer(bundle)
    faulty = df
    if case == "worker":
        faulty = df.mapInArrow(kill_once(marker, 1, executor=False), df.schema)
    elif case == "speculation":
        faulty = df.mapInArrow(wait_once(marker, 3, SLOW_S), df.schema)
    scored = engine.score(faulty.mapInArrow(count, df.schema), scorer).repartition(3)
    if case == "executor":
        scored = scored.mapInArrow(kill_once(marker, 0, executor=True), scored.schema)
    elif case == "driver":
        scored = scored.mapInArrow(wait_once(marker, 1, SLOW_S), scored.schema)
    started = time.perf_counter()
    scored.write.mode("overwrite").parquet(str(folder / ("driver" if case == "again" else case)))
    seconds = time.perf_counter() - started
    summary = engine.summarize(faulty, scorer)
    attempts = marker.read_text().split() if marker.exists() else []
    found = {"accumulator": counter.value, "summary": summary.rows, "seconds": seconds}
    spark.stop()
    return {**found, "attempts": len(attempts)}


def run_case(case: str, address: str, args: argparse.Namespace, folder: Path) -> list[str]:
    """Run a case in a driver of its own; the cells of its row."""
    words = ["--drive", case, "--address", address, "--folder", str(folder)]
    command = [sys.executable, __file__, *words, "--rows", str(args.rows)]
    variables = {"PYSPARK_PYTHON": sys.executable, "SPARK_LOCAL_IP": "127.0.0.1"}
    driver = subprocess.Popen(
        [*command, "--bundle", str(args.bundle.resolve())],
        env={**os.environ, **variables},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    if case == "driver":
        return kill_driver(driver, folder)
    output, errors = driver.communicate(timeout=2 * WAIT_S)
    if driver.returncode:
        raise SystemExit(f"{case}: exit code {driver.returncode}\n{errors[-3000:]}")
    counts = json.loads(output.splitlines()[-1])
    if case == "speculation" and counts["attempts"] < 2:
        raise SystemExit("no speculative attempt was started")
    ids = parquet.read_table(folder / ("driver" if case == "again" else case))["id"]
    lost, distinct = args.rows - pc.count_distinct(ids).as_py(), pc.count_distinct(ids).as_py()
    if lost or len(ids) != distinct or counts["summary"] != args.rows:
        raise SystemExit(f"{case}: {lost} lost, {len(ids) - distinct} doubled, {counts}")
    cells = (len(ids), lost, len(ids) - distinct, counts["summary"], counts["accumulator"])
    return [f"{cell:,}" for cell in cells]


def kill_driver(driver: subprocess.Popen[str], folder: Path) -> list[str]:
    """Kill a driver when a task has written and another is slow."""
    deadline = time.monotonic() + WAIT_S
    while not (folder / "driver.marker").exists():
        if driver.poll() is not None or time.monotonic() > deadline:
            raise SystemExit("the driver ended early")
        time.sleep(0.2)
    os.killpg(driver.pid, 9)  # with its JVM
    driver.communicate()
    left = [path.name for path in (folder / "driver").iterdir() if path.name != "_temporary"]
    if left:
        raise SystemExit(f"the killed driver left {left}")
    return ["only `_temporary`", "", "", "", ""]


def main() -> None:
    """Run the cases and report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bundle", type=Path, default=Path("artifacts/bundle"))
    parser.add_argument("--rows", type=int, default=200_000)
    parser.add_argument("--cases", nargs="*", default=list(CASES), choices=CASES)
    parser.add_argument("--write", action="store_true", help="keep the result")
    for name in ("--drive", "--address", "--folder"):  # of the drivers that this starts
        parser.add_argument(name, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.drive:
        found = drive(args.drive, args.address, args.bundle, Path(args.folder), args.rows)
        print(json.dumps(found))
        return
    lines = [
        "| what happens | rows written | lost | doubled | summarized | accumulator |",
        "|---|---|---|---|---|---|",
    ]
    with tempfile.TemporaryDirectory() as made, start_hosts(Path(made)) as address:
        for case in args.cases:
            cells = run_case(case, address, args, Path(made))
            lines.append(f"| {' | '.join([CASES[case], *cells])} |")
    measure.report(
        "spark_faults",
        "Faults on a cluster of Spark",
        "\n".join(lines),
        ("pyspark", "pyarrow"),
        note=f"{args.rows:,} rows, scored in the stage before a shuffle; workers on two hosts.",
        write=args.write,
    )


if __name__ == "__main__":
    main()
