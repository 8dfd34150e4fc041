"""What comes before the first layer: imputation and piecewise linear encoding, in numpy.

Each bin of an encoded input ``x`` is ``clip(z, 0, 1)`` with ``z = (x - low) * scale``. Its
computed value passes through two roundings, and what is tiny may be flushed to 0:

    |computed z - z| <= gamma(2) |z| + 4 tiny scale + tiny

Clipping rounds nothing and moves two numbers no further apart. Where every number within that
distance of z is clipped to the same end, the error is 0.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from exporter.reference.intervals import FLOAT32, FLOAT64_ROUNDOFF, Enclosure, gamma

if TYPE_CHECKING:
    import numpy.typing as npt

    from exporter.reference.intervals import Float64Matrix
    from runtime.schema.features import Float32Matrix

_ROUNDINGS = 2  # of a difference and a product
_OWN_ROUNDING = 1 + 2.0**-30  # the bound is computed in float64 itself


@dataclass(frozen=True)
class Imputer:
    """Fills missing values before the first layer.

    A choice between two numbers rounds nothing: bounds of the layers hold for imputed rows too.
    """

    fill_values: Float32Matrix  # (n_inputs,)
    columns: tuple[int, ...]  # inputs that may be missing, ascending

    def transform(self, rows: Float32Matrix) -> Float32Matrix:
        """Fill and append indicators: ``(rows, n_inputs)`` to ``(rows, n_inputs + columns)``."""
        missing = np.isnan(rows[:, self.columns])  # (rows, columns)
        filled = rows.copy()
        filled[:, self.columns] = np.where(
            missing, self.fill_values[list(self.columns)], rows[:, self.columns]
        )
        return np.concatenate([filled, missing.astype(np.float32)], axis=1)


@dataclass(frozen=True)
class Encoder:
    """Appends the bins of encoded inputs.

    The scales are normal numbers, so that no infinity is multiplied by 0.
    """

    positions: npt.NDArray[np.int64]  # (bins,), the input of each bin
    lows: npt.NDArray[np.float32]  # (bins,)
    scales: npt.NDArray[np.float32]  # (bins,), positive

    def transform(self, inputs: Float32Matrix) -> Float32Matrix:
        """Append the bins in float32: ``(rows, n_inputs)`` to ``(rows, n_inputs + bins)``."""
        with np.errstate(over="ignore"):  # what overflows is clipped
            scaled = (inputs[:, self.positions] - self.lows) * self.scales  # (rows, bins)
        return np.concatenate([inputs, np.clip(scaled, 0, 1)], axis=1)

    def evaluate(self, inputs: Float32Matrix) -> Float64Matrix:
        """Append the bins in float64."""
        wide = inputs.astype(np.float64)  # (rows, n_inputs)
        return np.concatenate([wide, np.clip(self._scale(wide), 0, 1)], axis=1)

    def enclose(self, inputs: Float32Matrix) -> Enclosure:
        """Append the bins in float64 and bound every float32 evaluation; inputs have no error."""
        wide = inputs.astype(np.float64)  # (rows, n_inputs)
        scaled = self._scale(wide)  # (rows, bins)
        value = np.clip(scaled, 0, 1)
        rounding = FLOAT32.gamma(_ROUNDINGS) + gamma(FLOAT64_ROUNDOFF, _ROUNDINGS)
        flushed = FLOAT32.tiny * (4 * self.scales.astype(np.float64) + 1)  # (bins,)
        with np.errstate(invalid="ignore"):  # of an infinity, which is clipped as it is
            reach = rounding * np.abs(scaled) + flushed  # (rows, bins)
            above = np.clip(scaled + reach, 0, 1) - value
            below = value - np.clip(scaled - reach, 0, 1)
        error = np.where(np.isfinite(scaled), np.maximum(above, below) * _OWN_ROUNDING, 0.0)
        return Enclosure(
            np.concatenate([wide, value], axis=1),
            np.concatenate([np.zeros_like(wide), error], axis=1),
        )

    def _scale(self, wide: Float64Matrix) -> Float64Matrix:
        """Return the bins before they are clipped, ``(rows, bins)``."""
        differences = wide[:, self.positions] - self.lows.astype(np.float64)
        return np.asarray(differences * self.scales.astype(np.float64))

    @property
    def edges(self) -> dict[int, Float32Matrix]:
        """The edges of the bins of each encoded input, ascending, by its position."""
        highs = (self.lows + 1 / self.scales.astype(np.float64)).astype(np.float32)  # (bins,)
        ends = np.stack([self.lows, highs])  # (2, bins)
        return {
            int(at): np.unique(ends[:, self.positions == at]) for at in np.unique(self.positions)
        }


@dataclass(frozen=True)
class Preprocessing:
    """The stages before the first layer; without any, rows are passed on."""

    imputer: Imputer | None = None
    encoder: Encoder | None = None

    def transform(self, rows: Float32Matrix) -> Float32Matrix:
        """Compute the inputs of the first layer in float32, ``(rows, width)``."""
        imputed = self._impute(rows)
        return self.encoder.transform(imputed) if self.encoder else imputed

    def evaluate(self, rows: Float32Matrix) -> Float64Matrix:
        """Compute the inputs of the first layer in float64, ``(rows, width)``."""
        imputed = self._impute(rows)
        return self.encoder.evaluate(imputed) if self.encoder else imputed.astype(np.float64)

    def enclose(self, rows: Float32Matrix) -> Enclosure:
        """Compute them in float64 and bound every float32 evaluation."""
        imputed = self._impute(rows)
        if self.encoder:
            return self.encoder.enclose(imputed)
        value = imputed.astype(np.float64)
        return Enclosure(value, np.zeros_like(value))

    def width(self, n_inputs: int) -> int:
        """Return how many inputs the first layer has, of so many inputs of the model."""
        indicators = len(self.imputer.columns) if self.imputer else 0
        return n_inputs + indicators + (len(self.encoder.positions) if self.encoder else 0)

    @property
    def edges(self) -> dict[int, Float32Matrix]:
        """The edges of the bins of each encoded input, ascending, by its position."""
        return self.encoder.edges if self.encoder else {}

    def _impute(self, rows: Float32Matrix) -> Float32Matrix:
        return self.imputer.transform(rows) if self.imputer else rows

    def __bool__(self) -> bool:
        return self.imputer is not None or self.encoder is not None


NO_PREPROCESSING = Preprocessing()
