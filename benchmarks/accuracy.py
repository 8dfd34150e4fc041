"""Accuracy on products of the presets of ``trainer fit``, over many seeds.

    python benchmarks/accuracy.py [--seeds 50] [--rows 5000] [--write]

Each seed draws its own 800 training rows, initial weights and order of rows. The network is
evaluated on fresh rows. Exits with 1 when the default preset misses its target.
``--write`` writes the result to benchmarks/results/accuracy.md.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import sys
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from trainer.config import PRESETS, Preset, configure
from trainer.data.products import synthetic_products
from trainer.fit import fit

if TYPE_CHECKING:
    from trainer.checkpoint.state import Epoch

RESULT = Path(__file__).parent / "results" / "accuracy.md"
PROMISED_MEDIAN, PROMISED_WORST = 0.99, 0.97
FRESH = 2**40  # seeds of fresh rows lie this far from the seeds of the fits


@dataclass(frozen=True)
class Result:
    """One fit: losses of its first and last epoch, accuracy on fresh rows (0 to 1)."""

    first_loss: float
    last_loss: float
    accuracy: float


def main() -> int:
    """Fit, print the table, and exit with 1 when the target is missed."""
    parser = argparse.ArgumentParser(description="Accuracy of the presets over seeds.")
    parser.add_argument("--seeds", type=int, default=50, help="fits of each preset")
    parser.add_argument("--rows", type=int, default=5000, help="fresh rows to judge each fit by")
    parser.add_argument("--write", action="store_true", help=f"write results/{RESULT.name}")
    options = parser.parse_args()
    results = {
        preset: [measure(preset, seed, options.rows) for seed in range(options.seeds)]
        for preset in PRESETS
    }
    text = describe(results, options.seeds, options.rows)
    print(text, end="")
    if options.write:
        RESULT.parent.mkdir(exist_ok=True)
        RESULT.write_text(text, encoding="utf-8")
    return 0 if keeps_promise(results["default"]) else 1


def measure(preset: Preset, seed: int, rows: int) -> Result:
    """Fit one network and evaluate it on fresh rows."""
    epochs: list[Epoch] = []
    configuration = configure(preset, seed=seed)
    model = fit(synthetic_products(seed), configuration, on_epoch_end=epochs.append).model
    fresh = synthetic_products(FRESH + seed, train_rows=1, test_rows=rows).rows
    with torch.no_grad():
        labels = model(fresh.test_features).argmax(dim=1)  # (rows,)
    hits = int((labels == fresh.test_labels).sum())
    return Result(epochs[0].loss, epochs[-1].loss, hits / rows)


def keeps_promise(results: list[Result]) -> bool:
    """Whether median and worst accuracy of the default preset reach the target."""
    accuracies = [result.accuracy for result in results]
    return statistics.median(accuracies) >= PROMISED_MEDIAN and min(accuracies) >= PROMISED_WORST


def describe(results: dict[Preset, list[Result]], seeds: int, rows: int) -> str:
    """Format the table as Markdown."""
    verdict = "met" if keeps_promise(results["default"]) else "MISSED"
    table = "\n".join(row(preset, found) for preset, found in results.items())
    return f"""# Accuracy of the presets

{seeds} seeds, each fit evaluated on {rows:,} fresh rows; losses are medians of the mean training \
loss.

| preset | seeds | median | worst | best | loss, first epoch | last epoch |
|---|---|---|---|---|---|---|
{table}

Target of the default preset: median at least {PROMISED_MEDIAN:.0%}, worst at least \
{PROMISED_WORST:.0%}: {verdict}.

torch {metadata.version("torch")}, Python {platform.python_version()}, {platform.machine()}, \
{os.cpu_count()} cores, one thread. Command: \
`python benchmarks/accuracy.py --seeds {seeds} --rows {rows}`
"""


def row(preset: Preset, results: list[Result]) -> str:
    """Format one line of the table."""
    accuracies = [result.accuracy for result in results]
    first = statistics.median(result.first_loss for result in results)
    last = statistics.median(result.last_loss for result in results)
    return (
        f"| {preset} | {len(results)} | {statistics.median(accuracies):.2%} | "
        f"{min(accuracies):.2%} | {max(accuracies):.2%} | {first:.3f} | {last:.3f} |"
    )


if __name__ == "__main__":
    sys.exit(main())
