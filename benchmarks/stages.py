"""Where the time of `runtime predict` goes, per row, from CSV to CSV with all rows good.

python benchmarks/stages.py [--rows 1000000] [--table products] [--repeats 3] [--write]

It calls the runtime's own functions one after another in one thread, then the model alone in
batches, each stage in two threads at once, and the whole in several threads. Every figure is the
best of the repeats: what is above it was somebody else's work on the machine.
"""

from __future__ import annotations

import argparse
import threading
import time
from collections import defaultdict
from functools import partial
from typing import TYPE_CHECKING

import inputs
import measure
import numpy as np
from passes import STAGES, one_pass, timed_pass, works_on

from runtime.predictor import Predictor

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

KIB = 1024
BLOCK_SIZES = tuple(size * KIB for size in (128, 256, 512, 1024, 2048, 4096))
BATCHES = tuple(rows * KIB for rows in (1, 2, 4, 8, 16, 32, 64))
THREADS = (1, 2, 3)
NOTE = "The best of the repeats."


def main() -> None:
    """Make a table, measure, report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--table", choices=tuple(inputs.BYTES_A_ROW), default="products")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--bundle", default="artifacts/bundle")
    parser.add_argument("--write", action="store_true", help="keep the result")
    args = parser.parse_args()
    predictor = Predictor.open(args.bundle, provider="cpu")
    with inputs.work_folder(3 * args.rows * inputs.BYTES_A_ROW[args.table]) as folder:
        source, out = folder / "in.csv", folder / "out.csv"
        inputs.write_table(source, args.table, args.rows)
        tables = [
            one_thread_table(predictor, source, out, args.repeats),
            batch_table(predictor, args.rows, args.repeats),
            overlap_table(predictor, source, args.repeats),
            thread_table(predictor, source, out, args.repeats),
        ]
        body = "\n\n".join([*tables, inputs.describe_folder(folder)])
    title = f"Where the time goes: {args.rows:,} rows of the table {args.table!r}"
    packages = ("onnxferry", "onnxruntime-gpu", "pyarrow", "numpy")
    measure.report("stages", title, body, packages, note=NOTE, write=args.write)


def one_thread_table(predictor: Predictor, source: Path, out: Path, repeats: int) -> str:
    """Nanoseconds a row by stage and block size, in one thread."""
    columns = {}
    for size in BLOCK_SIZES:
        passes = [one_pass(predictor, source, out, size) for _ in range(repeats)]
        columns[_size(size)] = {name: min(each[name] for each in passes) for name in STAGES}
    for column in columns.values():
        column["sum"] = sum(column.values())
    rows = {name: [column[name] for column in columns.values()] for name in (*STAGES, "sum")}
    return _table("One thread, ns a row, by block size", list(columns), rows)


def batch_table(predictor: Predictor, rows: int, repeats: int) -> str:
    """Nanoseconds a row of the model alone, by batch size."""
    generator = np.random.default_rng(1)
    features = generator.uniform(1, 5, (rows, predictor.schema.n_features)).astype(np.float32)

    def run(batch: int) -> None:
        for start in range(0, rows, batch):
            predictor.run(features[start : start + batch])

    times = [_best(partial(run, batch), repeats) / rows * 1e9 for batch in BATCHES]
    heads = [f"{batch:,}" for batch in BATCHES]
    return _table("The model alone, ns a row, by rows a batch", heads, {"model": times})


def overlap_table(predictor: Predictor, source: Path, repeats: int) -> str:
    """How much faster two threads do a stage than one: 2 is free of locks, 1 is one at a time."""
    rows = {
        name: [_overlap(work, repeats) for work in of_stage]
        for name, of_stage in _works(predictor, source).items()
    }
    heads = [_size(size) for size in _OVERLAP_SIZES]
    title = "Two threads at once: work done over that of one thread, by block size"
    return _table(title, heads, rows, digits=2)


_OVERLAP_SIZES = (256 * KIB, 1024 * KIB)


def _works(predictor: Predictor, source: Path) -> Mapping[str, Sequence[Callable[[], object]]]:
    """Name each stage's work on one block, for each block size."""
    works: dict[str, list[Callable[[], object]]] = defaultdict(list)
    for size in _OVERLAP_SIZES:
        for name, work in works_on(predictor, source, size).items():
            works[name].append(work)
    return works


def _overlap(work: Callable[[], object], repeats: int) -> float:
    """Work of two threads over that of one in the same time."""
    times = max(1, round(0.1 / _best(work, 3)))

    def loop() -> None:
        for _ in range(times):
            work()

    def pair() -> None:
        other = threading.Thread(target=loop)
        other.start()
        loop()
        other.join()

    return 2 * _best(loop, repeats) / _best(pair, repeats)


def thread_table(predictor: Predictor, source: Path, out: Path, repeats: int) -> str:
    """Nanoseconds a row of wall and CPU time, by threads and block size.

    On a busy machine the CPU time tells more: on n idle processors the wall time cannot be less
    than its n-th part.
    """
    rows: dict[str, list[float]] = {}
    for threads in THREADS:
        wall: list[float] = []
        cpu: list[float] = []
        for size in BLOCK_SIZES:
            passes = [timed_pass(predictor, source, out, size, threads) for _ in range(repeats)]
            wall.append(min(each.wall for each in passes))
            cpu.append(min(each.cpu for each in passes))
        rows[f"{threads}, wall"], rows[f"{threads}, CPU"] = wall, cpu
    heads = [_size(size) for size in BLOCK_SIZES]
    return _table("Threads that score beside the reader, ns a row, by block size", heads, rows)


def _best(work: Callable[[], object], repeats: int) -> float:
    """Run ``work`` and give the fewest seconds it took."""
    seconds = []
    for _ in range(repeats):
        started = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - started)
    return min(seconds)


def _size(size: int) -> str:
    return f"{size // KIB} KiB"


def _table(
    title: str, heads: Sequence[str], rows: Mapping[str, Sequence[float]], digits: int = 0
) -> str:
    lines = [f"**{title}**", "", f"| | {' | '.join(heads)} |", "|---" * (len(heads) + 1) + "|"]
    for name, values in rows.items():
        lines.append(f"| {name} | {' | '.join(f'{value:.{digits}f}' for value in values)} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
