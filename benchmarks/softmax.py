"""Softmax of two classes: as torch exports it, and as model.onnx has it.

Both files run in turn in the runtime's own session, one thread. Times are the fastest of the
rounds, ratios medians over the pairs.

python benchmarks/softmax.py [--run DIR] [--rounds 100] [--write]
"""

from __future__ import annotations

import argparse
import statistics
import time
from pathlib import Path

import measure
import numpy as np

from exporter.formats.deployed import Deployed
from exporter.formats.onnx import convert, write_onnx
from exporter.formats.program import capture_program
from runtime.session import Session
from trainer.run import load_run

ROWS = (1, 64, 1024, 2048, 16_384)
LEAST_ROWS = 2048  # of one measurement


def sessions(run: Path) -> tuple[Session, Session]:
    """Open a run's model as torch converts it, and as the bundle has it."""
    trained = load_run(run)
    program = capture_program(Deployed(trained.model).eval(), trained.record.schema)
    plain = convert(program).model_proto.SerializeToString()
    ours = write_onnx(program, trained.record.schema, name="simplenet")
    return Session(plain, provider="cpu"), Session(ours, provider="cpu")


def race(both: tuple[Session, Session], rows: int, rounds: int) -> tuple[list[float], list[float]]:
    """Run both in turn; seconds a call."""
    features = np.random.default_rng(0).uniform(1, 5, (rows, 2)).astype(np.float32)
    calls = max(LEAST_ROWS // rows, 1)
    taken: tuple[list[float], list[float]] = ([], [])
    for _ in range(rounds):
        for session, times in zip(both, taken, strict=True):
            started = time.perf_counter()
            for _ in range(calls):
                session.run(features)
            times.append((time.perf_counter() - started) / calls)
    return taken


def main() -> None:
    """Measure and report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--run", type=Path, default=Path("artifacts/run"))
    parser.add_argument("--rounds", type=int, default=100)
    parser.add_argument("--write", action="store_true", help="keep the result")
    args = parser.parse_args()
    both = sessions(args.run)
    lines = [
        "| rows a call | Softmax, µs | as model.onnx has it, µs | Softmax ÷ it |",
        "|---|---|---|---|",
    ]
    for rows in ROWS:
        plain, ours = race(both, rows, args.rounds)
        ratio = statistics.median(a / b for a, b in zip(plain, ours, strict=True))
        lines.append(f"| {rows:,} | {min(plain) * 1e6:.1f} | {min(ours) * 1e6:.1f} | {ratio:.2f} |")
    measure.report(
        "softmax",
        "The probabilities of two classes",
        "\n".join(lines),
        ("onnxruntime-gpu", "onnx", "torch"),
        note="The whole model, SimpleNet with 32 hidden units; one thread.",
        write=args.write,
    )


if __name__ == "__main__":
    main()
