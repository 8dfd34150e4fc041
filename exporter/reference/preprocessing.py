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
        encoded = _clip(self._scale(wide), self._reach(wide))
        return Enclosure(
            np.concatenate([wide, encoded.value], axis=1),
            np.concatenate([np.zeros_like(wide), encoded.error], axis=1),
        )

    def enclose_steps(self, inputs: Float32Matrix) -> dict[str, Enclosure]:
        """Enclose what each operation of the bins computes, ``(rows, bins)``, by its name.

        What overflows has no bound before it is clipped.
        """
        wide = inputs.astype(np.float64)  # (rows, n_inputs)
        difference, scaled = self._subtract(wide), self._scale(wide)
        lost = np.full(len(self.lows), 3 * FLOAT32.tiny)  # of both operands and the result
        steps = {
            "difference": (difference, _rounding(1) * np.abs(difference) + lost),
            "product": (scaled, self._reach(wide)),
        }
        bounded = {step: _without_overflow(*found) for step, found in steps.items()}
        return {**bounded, "clipped": _clip(*steps["product"])}

    def _subtract(self, wide: Float64Matrix) -> Float64Matrix:
        return np.asarray(wide[:, self.positions] - self.lows.astype(np.float64))

    def _scale(self, wide: Float64Matrix) -> Float64Matrix:
        """Return the bins before they are clipped, ``(rows, bins)``."""
        return np.asarray(self._subtract(wide) * self.scales.astype(np.float64))

    def _reach(self, wide: Float64Matrix) -> Float64Matrix:
        """Return how far a computed product may be from its value, ``(rows, bins)``."""
        flushed = FLOAT32.tiny * (4 * self.scales.astype(np.float64) + 1)  # (bins,)
        return np.asarray(_rounding(_ROUNDINGS) * np.abs(self._scale(wide)) + flushed)

    @property
    def edges(self) -> dict[int, Float32Matrix]:
        """The edges of the bins of each encoded input, ascending, by its position."""
        return {int(at): self._edges(self.positions == at) for at in np.unique(self.positions)}

    def _edges(self, bins: npt.NDArray[np.bool_]) -> Float32Matrix:
        """Return the edges of some bins; the upper one of the last as its scale has it."""
        lows = self.lows[bins]
        last = int(lows.argmax())
        return np.unique(np.append(lows, lows[last] + 1 / self.scales[bins][last]))


def _rounding(operations: int) -> float:
    return FLOAT32.gamma(operations) + gamma(FLOAT64_ROUNDOFF, operations)


def _clip(value: Float64Matrix, reach: Float64Matrix) -> Enclosure:
    """Clip numbers that may be off by so much to 0..1; NaN stays."""
    clipped = np.clip(value, 0, 1)
    with np.errstate(invalid="ignore"):  # of an infinity, which is clipped as it is
        above = np.clip(value + reach, 0, 1) - clipped
        below = clipped - np.clip(value - reach, 0, 1)
    error = np.maximum(above, below) * _OWN_ROUNDING
    return Enclosure(clipped, np.where(np.isfinite(value), error, 0.0))


def _without_overflow(value: Float64Matrix, reach: Float64Matrix) -> Enclosure:
    """Enclose numbers that float32 can hold; there is no bound for larger ones."""
    finite = np.isfinite(value)
    overflows = finite & (np.abs(value) + reach > FLOAT32.largest)
    return Enclosure(value, np.where(overflows, np.inf, np.where(finite, reach, 0.0)))


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

    def enclose_steps(self, rows: Float32Matrix) -> dict[str, Enclosure]:
        """Enclose what each operation of the encoding computes; nothing without one."""
        return self.encoder.enclose_steps(self._impute(rows)) if self.encoder else {}

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
