"""The truth of a Linear-ReLU network: exact answers and bounds from its weights alone.

In: layers. Out: a ``Truth``. Layers that no bound exists for are a ``ParityError``.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from exporter.truth.gaps import after_filling
from exporter.truth.layer import check_layers
from exporter.truth.oracle import ask_oracle
from exporter.truth.truth import Truth

if TYPE_CHECKING:
    from collections.abc import Sequence

    from exporter.truth.gaps import Gaps
    from exporter.truth.layer import Layer
    from exporter.truth.truth import LabelOf, Labels
    from runtime.schema.features import Float32Matrix


def derive(layers: Sequence[Layer], gaps: Gaps | None = None) -> Truth:
    """Derive what a Linear-ReLU network must compute.

    Args:
        layers: from input to output, with ReLU between them and softmax after the last.
        gaps: that are filled before the first layer.

    Returns:
        Its truth.

    Raises:
        ParityError: when the layers are no chain or hold NaN or infinities.
    """
    check_layers(layers)
    return Truth(
        tolerance="derived",
        ask=after_filling(gaps, partial(ask_oracle, layers)),
        label_of=after_filling(gaps, label_by(layers)),
        products=sum(layer.weight.size for layer in layers),
        layers=tuple(layers),
        gaps=gaps,
    )


def label_by(layers: Sequence[Layer]) -> LabelOf:
    """Make the oracle's labels, without the bounds that they would come with.

    Args:
        layers: of the model, from input to output.

    Returns:
        From ``(rows, n_features)`` float32 to labels ``(rows,)``.
    """
    weights = [layer.weight.astype(np.float64).T for layer in layers]
    biases = [layer.bias.astype(np.float64) for layer in layers]

    def label(rows: Float32Matrix) -> Labels:
        values = rows.astype(np.float64)  # (rows, width)
        for position, (weight, bias) in enumerate(zip(weights, biases, strict=True)):
            values = np.maximum(values, 0) if position else values
            values = values @ weight + bias
        return np.asarray(values.argmax(axis=1))

    return label
