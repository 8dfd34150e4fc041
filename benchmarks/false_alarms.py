"""False alarms: how many correct exports the proof refuses. It must be none.

    python benchmarks/false_alarms.py [--exports 500] [--first 0] [--write]

Each export has a network of its own: seed, features, classes, hidden layers and their widths, scale
and offset of each feature. Its weights are trained for a few steps, with standardisation folded in.
All files and all backends are proven, on fewer rows than by default.
"""

from __future__ import annotations

import argparse
import gc
import statistics
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import measure
import numpy as np
import torch
from faults.gate import QUICK
from torch import nn

from exporter.bundling import export_candidate
from exporter.reference.layers import layers_of
from exporter.reference.oracle import derive_reference
from exporter.source.candidate import Candidate
from runtime.bundle.manifest import Provenance
from runtime.errors import OnnxferryError
from runtime.schema.features import Feature, Schema
from trainer.data.dataset import LabelledRows
from trainer.data.preprocessing import fit_standardisation as standardisation_of
from trainer.model import SimpleNet, fold_standardisation

_ROWS = 256
_STEPS = 20
NOTE = "A refused export would be a false alarm."


@dataclass(frozen=True)
class Result:
    """One export.

    Attributes:
        shape: widths from features to classes.
        worst: error over its bound.
        undecidable: rows inside the ranges whose label is not sure, off the boundaries.
        seconds: of the export.
        refused: the message, or None.
    """

    shape: tuple[int, ...]
    worst: float
    undecidable: int
    seconds: float
    refused: str | None


def main() -> int:
    """Export, print the table, and exit with 1 when a correct export was refused."""
    parser = argparse.ArgumentParser(description="False alarms: correct exports that are refused.")
    parser.add_argument("--exports", type=int, default=500)
    parser.add_argument("--first", type=int, default=0, help="seed of the first")
    parser.add_argument("--write", action="store_true", help="keep the result")
    args = parser.parse_args()
    results = []
    for seed in range(args.first, args.first + args.exports):
        results.append(export_once(seed))
        if results[-1].refused:
            print(f"seed {seed}, {results[-1].shape}: {results[-1].refused}", file=sys.stderr)
        gc.collect()
    measure.report(
        "false_alarms",
        "False alarms: correct exports that are refused",
        describe(results),
        ("onnxferry", "torch", "onnx", "onnxruntime-gpu", "numpy"),
        note=NOTE,
        write=args.write,
    )
    return 0 if not any(result.refused for result in results) else 1


def export_once(seed: int) -> Result:
    """Export the network of a seed."""
    candidate = draw_candidate(seed)
    shape = tuple(
        [candidate.reference.layers[0].weight.shape[1]]
        + [layer.weight.shape[0] for layer in candidate.reference.layers]
    )
    started = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        try:
            report = export_candidate(candidate, Path(folder) / "bundle", plan=QUICK).report
        except OnnxferryError as exc:
            return Result(shape, float("nan"), 0, time.perf_counter() - started, str(exc))
    seconds = time.perf_counter() - started
    return Result(shape, report.worst_error_over_bound, report.undecidable, seconds, None)


def draw_candidate(seed: int) -> Candidate:
    """Draw a network with rows and ranges, and train it a little."""
    generator = np.random.default_rng(seed)
    torch.manual_seed(seed)
    n_features, n_classes = int(generator.integers(1, 65)), int(generator.integers(2, 13))
    widths = tuple(int(width) for width in generator.integers(1, 129, generator.integers(0, 5)))
    scale = 10.0 ** generator.uniform(-3, 6, n_features)  # units from thousandths to millions
    place = scale * generator.normal(0, 3, n_features)
    features = (place + scale * generator.normal(size=(_ROWS, n_features))).astype(np.float32)
    labels = generator.integers(0, n_classes, _ROWS)
    model = train(SimpleNet(n_features, n_classes, widths), features, labels)
    schema = Schema(
        "kind",
        tuple(
            Feature(f"feature {number}", float(column.min()), float(column.max()))
            for number, column in enumerate(features.T)
        ),
        tuple(f"class {number}" for number in range(n_classes)),
    )
    return Candidate(
        name="simplenet",
        model=model,
        schema=schema,
        reference=derive_reference(layers_of(model)),
        metrics={},
        provenance=Provenance(seed=seed, data_digest="drawn", configuration={}, versions={}),
        test=LabelledRows(features, labels),
    )


def train(model: SimpleNet, features: np.ndarray, labels: np.ndarray) -> SimpleNet:
    """Train on standardised features for a few steps, and fold the standardisation in."""
    rows = torch.from_numpy(features)
    standardisation = standardisation_of(rows)
    inputs, targets = standardisation.apply(rows), torch.from_numpy(labels)
    for _ in range(_STEPS):
        loss = nn.functional.cross_entropy(model(inputs), targets)
        gradients = torch.autograd.grad(loss, list(model.parameters()))
        with torch.no_grad():
            for weight, gradient in zip(model.parameters(), gradients, strict=True):
                weight.sub_(0.5 * gradient)
    return fold_standardisation(model, standardisation.mean, standardisation.std).eval()


def describe(results: list[Result]) -> str:
    """Format the counts as Markdown."""
    passed = [result for result in results if not result.refused]
    depths = sorted({len(result.shape) - 2 for result in results})
    widest = max(max(result.shape[1:-1], default=0) for result in results)
    worst = max((result.worst for result in passed), default=float("nan"))
    usual = statistics.median(result.worst for result in passed) if passed else float("nan")
    lines = {
        "correct exports": f"{len(results):,}",
        "refused (false alarms)": f"{len(results) - len(passed)}",
        "features": f"1 to {max(result.shape[0] for result in results)}",
        "classes": f"2 to {max(result.shape[-1] for result in results)}",
        "hidden layers": f"{depths[0]} to {depths[-1]}, up to {widest} wide",
        "worst error over its bound": f"{worst:.3f} (median over exports {usual:.3f})",
        "seconds an export": f"{statistics.median(result.seconds for result in results):.2f}",
    }
    return "\n".join(
        ["| what | found |", "|---|---|", *(f"| {k} | {v} |" for k, v in lines.items())]
    )


if __name__ == "__main__":
    sys.exit(main())
