"""Tightness of the derived bound: the bound over the worst error observed, by width and depth.

    python benchmarks/bound.py [--networks 5] [--rows 4096] [--write]

Networks have torch's default weights, rows are normally distributed, sums are taken in four orders.
With bins, each feature is also encoded piecewise linearly, at its quantiles over the rows.
The bound holds for every order of summation, so it grows with the length of a sum. Observed errors
grow with its square root, so the ratio rises with width and depth.
"""

from __future__ import annotations

import argparse
import math
import statistics
from collections.abc import Callable
from itertools import pairwise
from typing import TYPE_CHECKING

import measure
import numpy as np
import torch

from exporter.reference.bounds import enclose_logits
from exporter.reference.layers import Layer, encoder_of
from exporter.reference.preprocessing import Preprocessing
from trainer.data.binning import fit_encoding

if TYPE_CHECKING:
    from collections.abc import Sequence

    from runtime.schema.features import Float32Matrix

Order = Callable[["Float32Matrix", Layer], "Float32Matrix"]
WIDTHS = (4, 16, 32, 64, 128)
HIDDEN = (0, 1, 2, 3, 4)
FEATURES, CLASSES = 8, 3
BINS = 16
PACKAGES = ("onnxferry", "torch", "numpy")
NOTE = "Medians over networks; 1 would be a bound that is reached."


def main() -> None:
    """Measure networks of each width and depth, report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--networks", type=int, default=5)
    parser.add_argument("--rows", type=int, default=4096)
    parser.add_argument("--write", action="store_true", help="keep the result")
    args = parser.parse_args()
    head = ["| units a layer | " + " | ".join(f"{n} hidden" for n in HIDDEN) + " |"]
    head.append("|---|" + "---|" * len(HIDDEN))
    lines = [_line(width, args.networks, args.rows) for width in WIDTHS]
    lines += [_line(width, args.networks, args.rows, bins=BINS) for width in WIDTHS]
    title = "The derived bound over the worst error observed"
    measure.report("bound", title, "\n".join(head + lines), PACKAGES, note=NOTE, write=args.write)


def _line(width: int, networks: int, rows: int, *, bins: int = 0) -> str:
    cells = []
    for hidden in HIDDEN:
        inputs = FEATURES * (1 + bins)
        widths = (inputs, *[width] * hidden, CLASSES)
        found = [slack(draw(widths, seed), rows, seed, bins) for seed in range(networks)]
        cells.append(f"{statistics.median(found):.0f}")
    encoded = f", {bins} bins a feature" if bins else ""
    return f"| {width}{encoded} | {' | '.join(cells)} |"


def draw(widths: Sequence[int], seed: int) -> list[Layer]:
    """Draw a network as ``torch.nn.Linear`` does: uniform within the inputs' inverse root."""
    random = np.random.default_rng(seed)
    layers = []
    for inputs, outputs in pairwise(widths):
        reach = inputs**-0.5
        weight, bias = (random.uniform(-reach, reach, n) for n in ((outputs, inputs), outputs))
        layers.append(Layer(weight.astype(np.float32), bias.astype(np.float32)))
    return layers


def slack(layers: Sequence[Layer], rows: int, seed: int, bins: int = 0) -> float:
    """Divide the bound by the worst error of any row, class and order."""
    drawn = np.random.default_rng(seed).normal(size=(rows, FEATURES))
    features = drawn.astype(np.float32)
    encoding = fit_encoding(torch.from_numpy(features), range(FEATURES), bins)
    preprocessing = Preprocessing(encoder=encoder_of(encoding))
    exact = enclose_logits(layers, features, preprocessing=preprocessing)
    worst = 0.0
    for order in ORDERS:
        values = preprocessing.transform(features)
        for position, layer in enumerate(layers):
            values = order(np.maximum(values, 0) if position else values, layer)
        worst = max(worst, float((np.abs(values - exact.value) / exact.error).max()))
    return 1 / worst if worst else math.inf  # a network whose units are all off rounds nothing


def by_library(inputs: Float32Matrix, layer: Layer) -> Float32Matrix:
    """Whatever order numpy's BLAS sums in."""
    return np.asarray(inputs @ layer.weight.T + layer.bias)


def forwards(inputs: Float32Matrix, layer: Layer) -> Float32Matrix:
    """From the first product to the last, then the bias."""
    total = np.zeros((len(inputs), len(layer.bias)), np.float32)
    for column in range(layer.weight.shape[1]):
        total = total + inputs[:, column, None] * layer.weight[:, column]
    return total + layer.bias


def backwards(inputs: Float32Matrix, layer: Layer) -> Float32Matrix:
    """From the last product to the first."""
    return forwards(inputs[:, ::-1], Layer(layer.weight[:, ::-1], layer.bias))


def by_size(inputs: Float32Matrix, layer: Layer) -> Float32Matrix:
    """The largest weights first, which loses most of the small ones."""
    order = np.argsort(-np.abs(layer.weight).sum(axis=0))
    return forwards(inputs[:, order], Layer(layer.weight[:, order], layer.bias))


ORDERS: tuple[Order, ...] = (by_library, forwards, backwards, by_size)


if __name__ == "__main__":
    main()
