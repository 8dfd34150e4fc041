"""Batches in memory: runtime.Scorer beside predict_table, a pandas script and the bare model.

All contenders run in turn in this process, with one thread. Times are CPU time, the fastest of
the rounds; ratios are medians over the rounds.

python benchmarks/scorer.py [--bundle DIR] [--rounds 60] [--write]
"""

from __future__ import annotations

import argparse
import statistics
import time
from pathlib import Path
from typing import TYPE_CHECKING

import measure
import numpy as np
import onnxruntime as ort
import pandas as pd
import pyarrow as pa

from runtime import Predictor, Scorer

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

ROWS = (1, 1024, 65_536)
LEAST_ROWS = 65_536  # of one measurement
CALLS = 200  # of one measurement, at most
TARGET = 5  # million rows/s with batches of 1,024 rows


def contenders(bundle: Path, rows: int) -> dict[str, Callable[[], object]]:
    """Prepare one call of each, the scorer first."""
    random = np.random.default_rng(0)
    columns = {
        "id": np.arange(rows),
        "price": random.uniform(1, 10, rows),
        "rating": random.uniform(1, 5, rows),
    }
    table, frame = pa.table(columns), pd.DataFrame(columns)
    (batch,) = table.to_batches()
    scorer = Scorer(bundle, provider="cpu")
    counting = Scorer(bundle, provider="cpu", drift=True)
    predictor = Predictor(bundle, provider="cpu")
    session, classes = _session(bundle), np.array(predictor.schema.classes)
    matrix = np.column_stack([columns["price"], columns["rating"]]).astype(np.float32)
    outputs = ("label", "probabilities")

    def run_pandas() -> pd.DataFrame:
        features = frame[["price", "rating"]].to_numpy(np.float32)
        label, probabilities = session.run(outputs, {"features": features})
        return frame.assign(
            label=classes[label], probability=probabilities[np.arange(len(label)), label]
        )

    return {
        "Scorer, record batch": lambda: scorer(batch),
        "Scorer, table": lambda: scorer(table),
        "Scorer, pandas": lambda: scorer(frame),
        "Scorer.score with drift": lambda: counting.score(batch),
        "Predictor.predict_table": lambda: predictor.predict_table(table),
        "pandas and onnxruntime": run_pandas,
        "onnxruntime, ready matrix": lambda: session.run(outputs, {"features": matrix}),
    }


def _session(bundle: Path) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    return ort.InferenceSession(
        str(bundle / "model.onnx"), options, providers=["CPUExecutionProvider"]
    )


def race(
    calls: Mapping[str, Callable[[], object]], rows: int, rounds: int
) -> dict[str, list[float]]:
    """Run all in turn; CPU seconds a call."""
    count = max(min(LEAST_ROWS // rows, CALLS), 1)
    taken: dict[str, list[float]] = {name: [] for name in calls}
    for turn in range(rounds + 1):
        for name in measure.rotate(list(calls), turn):
            call = calls[name]
            call()  # the others have left cold caches
            started = time.process_time()
            for _ in range(count):
                call()
            if turn:
                taken[name].append((time.process_time() - started) / count)
    return taken


def main() -> None:
    """Measure and report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bundle", type=Path, default=Path("artifacts/bundle"))
    parser.add_argument("--rounds", type=int, default=60)
    parser.add_argument("--write", action="store_true", help="keep the result")
    args = parser.parse_args()
    lines = [
        "| rows a batch | contender | CPU µs a batch | M rows/s | ÷ ready matrix | ÷ Scorer |",
        "|---|---|---|---|---|---|",
    ]
    speed = 0.0
    for rows in ROWS:
        taken = race(contenders(args.bundle, rows), rows, args.rounds)
        bare, ours = taken["onnxruntime, ready matrix"], taken["Scorer, record batch"]
        for name, times in taken.items():
            ratios = [
                statistics.median(a / b for a, b in zip(times, others, strict=True))
                for others in (bare, ours)
            ]
            cells = (f"{rows:,}", name, f"{min(times) * 1e6:.0f}", f"{rows / min(times) / 1e6:.2f}")
            lines.append(f"| {' | '.join(cells)} | {ratios[0]:.2f} | {ratios[1]:.2f} |")
        if rows == 1024:
            speed = rows / min(ours) / 1e6
    target = ("million rows/s of the Scorer, batches of 1,024 rows", speed, f"≥ {TARGET}")
    measure.report(
        "scorer",
        "Batches in memory",
        "\n".join(lines) + "\n\n" + measure.targets([target]),
        ("onnxruntime-gpu", "pyarrow", "pandas", "numpy"),
        note="SimpleNet; columns id, price and rating; one thread, CPU time.",
        write=args.write,
    )


if __name__ == "__main__":
    main()
