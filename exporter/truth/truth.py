"""What a proof has to know of a model: exact answers, tolerances, and how they came about.

In: layers, or a module that was measured. Out: a ``Truth``. No errors of its own.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from torch.export import ExportedProgram

    from exporter.truth.gaps import Gaps
    from exporter.truth.layer import Layer
    from exporter.truth.oracle import Ask
    from runtime.schema.features import Float32Matrix

Tolerance = Literal["derived", "measured"]
Labels = npt.NDArray[np.intp]
LabelOf = Callable[["Float32Matrix"], Labels]


@dataclass(frozen=True)
class Captured:
    """The graph of a module that was measured.

    Attributes:
        program: as captured, with the contract's outputs.
        sample: ``(rows, n_features)`` float32 inside the ranges, to measure its values on.
    """

    program: ExportedProgram
    sample: Float32Matrix


@dataclass(frozen=True)
class Truth:
    """What a model must compute.

    Attributes:
        tolerance: ``derived`` from the weights, so that every correct engine keeps it; or
            ``measured`` on the model itself, which is evidence and no proof.
        ask: gives exact answers and tolerances for rows.
        label_of: the exact label of rows alone, which is cheaper.
        products: multiplications that one row costs, about.
        layers: of a Linear-ReLU network, from input to output; none for any other.
        gaps: that are filled before the first layer; None where there are none.
        captured: the graph of a model that was measured; None for any other.
    """

    tolerance: Tolerance
    ask: Ask
    label_of: LabelOf
    products: int
    layers: tuple[Layer, ...] = ()
    gaps: Gaps | None = None
    captured: Captured | None = None
