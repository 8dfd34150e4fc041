"""The layers that bounds are derived from.

In: float32 weights. Out: a ``Layer``; layers that no bound exists for are a ``ParityError``.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from runtime.errors import ParityError

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    from runtime.schema.features import Float32Matrix


@dataclass(frozen=True)
class Layer:
    """One Linear layer, ``y = W x + b``.

    Attributes:
        weight: ``(outputs, inputs)`` float32.
        bias: ``(outputs,)`` float32.
    """

    weight: Float32Matrix
    bias: npt.NDArray[np.float32]


def check_layers(layers: Sequence[Layer]) -> None:
    """Make sure that layers form a chain for which a bound exists.

    Args:
        layers: from input to output.

    Raises:
        ParityError: when there are none, they do not fit one another, or a weight is not finite.
    """
    if not layers:
        raise ParityError("the model has no Linear layer: nothing can be proven about it")
    for position, layer in enumerate(layers):
        values = np.concatenate([layer.weight.ravel(), layer.bias])
        if bad := int((~np.isfinite(values)).sum()):
            raise ParityError(
                f"layer {position} of the model has {bad} weights that are NaN or infinite: "
                "training diverged; fit it again with a lower learning rate"
            )
    for position, (first, second) in enumerate(pairwise(layers)):
        if first.weight.shape[0] != second.weight.shape[1]:
            raise ParityError(
                f"layer {position} of the model has {first.weight.shape[0]} outputs, the next "
                f"reads {second.weight.shape[1]}: they are no chain of layers"
            )
