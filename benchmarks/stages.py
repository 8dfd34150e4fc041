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
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import inputs
import measure
import numpy as np

from runtime.answers import Answers
from runtime.ordered import map_ordered
from runtime.predictor import Predictor
from runtime.tables.csv_reader import CsvReader
from runtime.tables.csv_writer import choose_text, format_floats, join_fields
from runtime.tables.feature_cells import parse_features

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from runtime.tables.csv_reader import Block

KIB = 1024
BLOCK_SIZES = tuple(size * KIB for size in (128, 256, 512, 1024, 2048, 4096))
BATCHES = tuple(rows * KIB for rows in (1, 2, 4, 8, 16, 32, 64))
THREADS = (1, 2, 3)
STAGES = (
    "read",
    "find records",
    "parse",
    "model",
    "check answers",
    "labels",
    "probabilities",
    "join",
    "write",
)
Times = dict[str, float]
NOTE = "The best of the repeats."


class Clock:
    """Adds up the seconds spent in each stage."""

    def __init__(self) -> None:
        self.seconds: Times = defaultdict(float)

    @contextmanager
    def __call__(self, stage: str) -> Iterator[None]:
        """Count what happens inside."""
        started = time.perf_counter()
        yield
        self.seconds[stage] += time.perf_counter() - started


class TimedFile:
    """A file whose reads are counted as a stage of their own."""

    def __init__(self, path: Path, clock: Clock) -> None:
        self._stream = path.open("rb", buffering=0)
        self._clock = clock

    def read(self, size: int, /) -> bytes | None:
        """Give at most ``size`` bytes."""
        with self._clock("read"):
            return self._stream.read(size)


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


def one_pass(predictor: Predictor, source: Path, out: Path, block_size: int) -> Times:
    """Score a file stage after stage.

    Args:
        predictor: the model.
        source: the table.
        out: where its rows go.
        block_size: bytes read at once.

    Returns:
        Nanoseconds a row by stage.
    """
    clock, rows = Clock(), 0
    reader = CsvReader(TimedFile(source, clock), where="the table", block_size=block_size)
    columns = reader.header.columns
    features = predictor.schema.bind(columns)
    labels = [f",{name},".encode() for name in predictor.schema.classes]
    blocks = reader.blocks()
    with out.open("wb") as sink:
        while True:
            with clock("find records"):
                block = next(blocks, None)
            if block is None:
                break
            rows += len(block)
            with clock("parse"):
                matrix = parse_features(block, columns, features).features
            with clock("model"):
                outputs = predictor.run(matrix)
            with clock("check answers"):
                outputs.finite_rows().all()
                chosen = np.take_along_axis(outputs.probabilities, outputs.label[:, None], axis=1)
            with clock("labels"):
                label = choose_text(labels, outputs.label)
            with clock("probabilities"):
                probability = format_floats(chosen[:, 0])
            with clock("join"):
                text = join_fields([block.pieces(), label, probability])
            with clock("write"):
                sink.write(text)
    clock.seconds["find records"] -= clock.seconds["read"]  # which happens inside it
    return {name: clock.seconds[name] / rows * 1e9 for name in STAGES}


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
        name: [_overlap(work, repeats) for work in works]
        for name, works in _works(predictor, source).items()
    }
    heads = [_size(size) for size in _OVERLAP_SIZES]
    title = "Two threads at once: work done over that of one thread, by block size"
    return _table(title, heads, rows, digits=2)


_OVERLAP_SIZES = (256 * KIB, 1024 * KIB)


def _works(predictor: Predictor, source: Path) -> Mapping[str, Sequence[Callable[[], object]]]:
    """Name each stage's work on one block, for each block size."""
    works: dict[str, list[Callable[[], object]]] = defaultdict(list)
    for size in _OVERLAP_SIZES:
        for name, work in _works_on(predictor, source, size).items():
            works[name].append(work)
    return works


def _works_on(predictor: Predictor, source: Path, size: int) -> dict[str, Callable[[], object]]:
    with source.open("rb", buffering=0) as stream:
        reader = CsvReader(stream, where="the table", block_size=size)
        block = next(reader.blocks())
    columns = reader.header.columns
    features = predictor.schema.bind(columns)
    matrix = parse_features(block, columns, features).features
    outputs = predictor.run(matrix)
    labels = [f",{name},".encode() for name in predictor.schema.classes]
    chosen = np.ascontiguousarray(outputs.probabilities[:, 0])
    cells = [block.pieces(), choose_text(labels, outputs.label), format_floats(chosen)]

    def read_and_find() -> None:
        with source.open("rb", buffering=0) as stream:
            next(CsvReader(stream, where="the table", block_size=size).blocks())

    return {
        "read, find records": read_and_find,
        "parse": lambda: parse_features(block, columns, features),
        "model": lambda: predictor.run(matrix),
        "check answers": lambda: outputs.finite_rows().all(),
        "labels": lambda: choose_text(labels, outputs.label),
        "probabilities": lambda: format_floats(chosen),
        "join": lambda: join_fields(cells),
    }


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


@dataclass(frozen=True)
class Pass:
    """One pass over a file: nanoseconds a row of wall time and of the whole process's CPU time."""

    wall: float
    cpu: float


def timed_pass(
    predictor: Predictor, source: Path, out: Path, block_size: int, threads: int
) -> Pass:
    """Score a file in threads and take the time."""
    wall, cpu = time.perf_counter(), time.process_time()
    rows = threaded_pass(predictor, source, out, block_size, threads)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    return Pass(wall / rows * 1e9, cpu / rows * 1e9)


def threaded_pass(
    predictor: Predictor, source: Path, out: Path, block_size: int, threads: int
) -> int:
    """Score a file as ``score_file`` does, with blocks of another size; count its rows."""
    rows = 0
    with source.open("rb", buffering=0) as stream, out.open("wb") as sink:
        reader = CsvReader(stream, where="the table", block_size=block_size)
        schema, header = predictor.schema, reader.header
        features = schema.bind(header.columns)
        answers = Answers(schema, header, prefix="", proba=False, keep_bad=False)

        def score(block: Block) -> tuple[int, memoryview]:
            parsed = parse_features(block, header.columns, features)
            outputs = predictor.run(parsed.features)
            outputs.finite_rows().all()
            return len(block), answers.rows(block, parsed, outputs)

        for count, text in map_ordered(score, reader.blocks(), threads=threads):
            sink.write(text)
            rows += count
    return rows


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
