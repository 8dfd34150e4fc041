"""Passes over a table with the runtime's own functions: stage after stage, and in threads.

In: a predictor, a CSV table whose rows are all good, a place for the output. Out: seconds or
nanoseconds a row. When the runtime scores in other steps, these have to follow it.
"""

from __future__ import annotations

import time
from collections import defaultdict
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from runtime.answers import Answers
from runtime.ordered import map_ordered
from runtime.tables.csv_reader import CsvReader
from runtime.tables.csv_writer import choose_text, format_floats, join_fields
from runtime.tables.feature_cells import parse_features

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from runtime.predictor import Predictor
    from runtime.tables.csv_reader import Block

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


def works_on(predictor: Predictor, source: Path, size: int) -> dict[str, Callable[[], object]]:
    """Name each stage's work on the first block of a table, ready to be repeated."""
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
