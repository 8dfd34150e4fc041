"""Throughput of the runtime's session on each available provider, by batch size.

    python benchmarks/providers.py [--bundle artifacts/bundle] [--seconds 0.3] [--write]

Inputs and outputs are in memory: the work of ``runtime predict`` without reading and writing. The
first batch size at which CUDA is faster than one core is reported.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import TYPE_CHECKING

import measure
import numpy as np

from runtime.bundle.manifest import ONNX_MODEL
from runtime.predictor import Predictor
from runtime.session import Provider, Session, available_providers

if TYPE_CHECKING:
    from runtime.schema.features import Float32Matrix

BATCHES = (1, 8, 64, 512, 4096, 16_384, 65_536, 262_144, 1_048_576)
PACKAGES = ("onnxferry", "onnxruntime-gpu", "numpy")
Rates = dict[Provider, dict[int, float]]


def main() -> None:
    """Measure each provider over all batch sizes, report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bundle", default="artifacts/bundle")
    parser.add_argument("--seconds", type=float, default=0.3, help="a batch size, a provider")
    parser.add_argument("--write", action="store_true", help="keep the result")
    args = parser.parse_args()
    rates = race(Path(args.bundle), args.seconds)
    body = f"{table(rates)}\n\n{crossing(rates)}"
    note = f"One measurement of {args.seconds} s each."
    measure.report(
        "providers", "Rows a second by provider", body, PACKAGES, note=note, write=args.write
    )


def race(bundle: Path, seconds: float) -> Rates:
    """Measure the providers in turn, batch size by batch size.

    Returns:
        Rows a second, by provider and rows a batch.
    """
    n_features = Predictor(bundle, provider="cpu").schema.n_features
    model = (bundle / ONNX_MODEL).read_bytes()
    sessions = {name: Session(model, provider=name) for name in available_providers()}
    rates: Rates = {name: {} for name in sessions}
    for batch in BATCHES:
        drawn = np.random.default_rng(batch).uniform(1, 5, (batch, n_features))
        features = drawn.astype(np.float32)
        for name, session in sessions.items():
            session.run(features)  # the first of a size makes room for it
            rates[name][batch] = _rate(session, features, seconds)
    return rates


def _rate(session: Session, features: Float32Matrix, seconds: float) -> float:
    started, rows = time.perf_counter(), 0
    while (passed := time.perf_counter() - started) < seconds:
        session.run(features)
        rows += len(features)
    return rows / passed


def table(rates: Rates) -> str:
    """Format the rates, one line per batch size."""
    lines = [f"| rows a batch | {' | '.join(rates)} |", "|---|" + "---|" * len(rates)]
    for batch in BATCHES:
        cells = (f"{found[batch] / 1e6:.3g} M" for found in rates.values())
        lines.append(f"| {batch:,} | {' | '.join(cells)} |")
    return "\n".join(lines)


def crossing(rates: Rates) -> str:
    """Describe from which batch size CUDA is faster than one core."""
    if "cuda" not in rates:
        return "No CUDA device here: one core alone."
    faster = [batch for batch in BATCHES if rates["cuda"][batch] > rates["cpu"][batch]]
    return f"CUDA is faster at {', '.join(f'{n:,}' for n in faster) or 'no size'} rows a batch."


if __name__ == "__main__":
    main()
