"""The model in plain numpy, from the weights alone: no graph, no engine.

In: layers. Out: what answers rows in float32, each layer one matrix product. No errors.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from runtime.session import Outputs

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from exporter.truth.layer import Layer
    from runtime.schema.features import Float32Matrix


def answer_by_numpy(layers: Sequence[Layer]) -> Callable[[Float32Matrix], Outputs]:
    """Build the network of some layers in numpy's float32.

    Args:
        layers: from input to output, with ReLU between them and softmax after the last.

    Returns:
        From ``(rows, n_features)`` float32 to the outputs.
    """

    def answer(features: Float32Matrix) -> Outputs:
        values = features  # (rows, width)
        with np.errstate(all="ignore"):  # overflow and NaN are answers, too
            for position, layer in enumerate(layers):
                values = np.maximum(values, 0) if position else values
                values = values @ layer.weight.T + layer.bias  # (rows, outputs)
            return Outputs(values.argmax(axis=1).astype(np.int64), _softmax(values), values)

    return answer


def _softmax(logits: Float32Matrix) -> Float32Matrix:
    terms: Float32Matrix = np.exp(logits - logits.max(axis=1, keepdims=True))  # (rows, classes)
    total: Float32Matrix = terms.sum(axis=1, keepdims=True)  # (rows, 1)
    return terms / total
