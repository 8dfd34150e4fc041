"""Tightness of the derived bound: the bound over the worst error observed, by width and depth.

    python benchmarks/bound.py [--networks 5] [--rows 4096] [--write]

Networks have torch's default weights, rows are normally distributed, sums are taken in four orders.
The bound holds for every order of summation, so it grows with the length of a sum. Observed errors
grow with its square root, so the ratio rises with width and depth.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Callable
from itertools import pairwise
from typing import TYPE_CHECKING

import measure
import numpy as np

from exporter.reference.bounds import enclose_logits
from exporter.reference.layers import Layer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from runtime.schema.features import Float32Matrix

Order = Callable[["Float32Matrix", Layer], "Float32Matrix"]
WIDTHS = (4, 16, 32, 64, 128)
HIDDEN = (0, 1, 2, 3, 4)
FEATURES, CLASSES = 8, 3
PACKAGES = ("onnxferry", "numpy")
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
    title = "The derived bound over the worst error observed"
    measure.report("bound", title, "\n".join(head + lines), PACKAGES, note=NOTE, write=args.write)


def _line(width: int, networks: int, rows: int) -> str:
    cells = []
    for hidden in HIDDEN:
        widths = (FEATURES, *[width] * hidden, CLASSES)
        found = [slack(draw(widths, seed), rows, seed) for seed in range(networks)]
        cells.append(f"{statistics.median(found):.0f}")
    return f"| {width} | {' | '.join(cells)} |"


def draw(widths: Sequence[int], seed: int) -> list[Layer]:
    """Draw a network as ``torch.nn.Linear`` does: uniform within the inputs' inverse root."""
    random = np.random.default_rng(seed)
    layers = []
    for inputs, outputs in pairwise(widths):
        reach = inputs**-0.5
        weight, bias = (random.uniform(-reach, reach, n) for n in ((outputs, inputs), outputs))
        layers.append(Layer(weight.astype(np.float32), bias.astype(np.float32)))
    return layers


def slack(layers: Sequence[Layer], rows: int, seed: int) -> float:
    """Divide the bound by the worst error of any row, class and order."""
    drawn = np.random.default_rng(seed).normal(size=(rows, layers[0].weight.shape[1]))
    features = drawn.astype(np.float32)
    exact = enclose_logits(layers, features)
    worst = 0.0
    for order in ORDERS:
        values = features
        for position, layer in enumerate(layers):
            values = order(np.maximum(values, 0) if position else values, layer)
        worst = max(worst, float((np.abs(values - exact.value) / exact.error).max()))
    return 1 / worst


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
