"""Floating-point formats, their rounding errors, and values enclosed by an error bound."""

from __future__ import annotations

from dataclasses import dataclass
from functools import reduce

import numpy as np
import numpy.typing as npt

from runtime.errors import ParityError

Float64Matrix = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]

FLOAT64_ROUNDOFF = 2.0**-53  # unit roundoff of the reference itself
# With so few columns a loop over them is several times faster than a reduction of short rows.
FEW_COLUMNS = 16


@dataclass(frozen=True)
class Arithmetic:
    """A floating-point arithmetic to bound the errors of."""

    name: str
    unit_roundoff: float  # largest relative error of one operation, rounded to nearest
    largest: float  # beyond it a result may be infinite or NaN
    tiny: float  # smallest normal number; anything below it may be flushed to 0
    factor_roundoff: float = 0.0  # relative error of rounding a product's factors first

    @property
    def product_roundoff(self) -> float:
        """Bound on the relative error of an exact product of rounded factors."""
        return 2 * self.factor_roundoff + self.factor_roundoff**2

    def gamma(self, roundings: int) -> float:
        """Bound the relative error of a term after so many roundings (Higham, 3.1)."""
        return gamma(self.unit_roundoff, roundings)


FLOAT32 = Arithmetic(
    name="float32",
    unit_roundoff=2.0**-24,
    largest=float(np.finfo(np.float32).max),
    tiny=float(np.finfo(np.float32).tiny),
)
# Tensor cores round the factors to 11 significant bits and add in float32, but may truncate there
# instead of rounding to nearest: Fasi, Higham, Mikaitis and Pranesh, Numerical behavior of NVIDIA
# tensor cores (PeerJ Computer Science 7, 2021).
TF32 = Arithmetic(
    name="tf32",
    unit_roundoff=2.0**-23,
    largest=(2 - 2.0**-10) * 2.0**127,  # a factor beyond may be rounded to infinity
    tiny=FLOAT32.tiny,
    factor_roundoff=2.0**-11,
)
# A float32 model whose weights, biases and features are rounded to float16 first. The bias needs
# no term of its own: gamma(n + 1) has one rounding to spare for it.
FLOAT16 = Arithmetic(
    name="float16",
    unit_roundoff=2.0**-11,
    largest=float(np.finfo(np.float16).max),
    tiny=float(np.finfo(np.float16).tiny),
    factor_roundoff=2.0**-11,
)


def gamma(unit_roundoff: float, roundings: int) -> float:
    """Bound the relative error of a term after so many roundings (Higham, 3.1)."""
    product = roundings * unit_roundoff
    if product >= 1:
        raise ParityError(
            f"sums of {roundings} terms at unit roundoff {unit_roundoff:g} have no error bound"
        )
    return product / (1 - product)


@dataclass(frozen=True)
class Enclosure:
    """Reference values, and how far a correct evaluation may be from each.

    The error is never NaN. It is 0 where the value is NaN or infinite, which must be equal,
    and infinite where there is no bound, because the evaluation may overflow on the way.
    """

    value: Float64Matrix  # (rows, columns)
    error: Float64Matrix  # (rows, columns)


def rows_with_all(mask: Mask) -> Mask:
    """Find the rows of ``(rows, columns)`` that are true in every column, ``(rows,)``."""
    if mask.shape[1] > FEW_COLUMNS:
        return np.asarray(mask.all(axis=1))
    every = np.ones(len(mask), np.bool_)  # (rows,)
    for column in mask.T:
        every &= column
    return every


def row_sums(terms: Float64Matrix) -> Float64Matrix:
    """Sum each row of ``(rows, columns)``, ``(rows, 1)``."""
    if terms.shape[1] > FEW_COLUMNS:
        return np.asarray(terms.sum(axis=1, keepdims=True))
    return np.asarray(reduce(np.add, terms.T)[:, None])
