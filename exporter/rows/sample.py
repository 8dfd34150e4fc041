"""Rows inside the ranges to measure a model on, the same on every machine.

In: the ranges. Out: float32 rows. No errors.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from exporter.rows.draws import draw_corners, draw_uniform

if TYPE_CHECKING:
    from exporter.rows.draws import Ranges
    from runtime.schema.features import Float32Matrix

_SEED = 20_240_302
_ROWS = 16_384


def sample_inside(ranges: Ranges) -> Float32Matrix:
    """Draw rows evenly from the ranges, and add their corners, ``(rows, n_features)``."""
    generator = np.random.default_rng(_SEED)
    return np.concatenate([draw_corners(ranges, generator), draw_uniform(ranges, generator, _ROWS)])
