"""Kinds of floating-point arithmetic that a model is evaluated in.

In: nothing. Out: ``Arithmetic`` values. A sum too long for any bound is a ``ParityError``.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from runtime.errors import ParityError

FLOAT64_ROUNDOFF = 2.0**-53  # of the oracle itself


@dataclass(frozen=True)
class Arithmetic:
    """What is known of the numbers that an evaluation computes with.

    Attributes:
        name: for reports.
        unit_roundoff: largest relative error of one operation, rounded to nearest.
        largest: largest finite number; beyond it a result may be infinite or NaN.
        tiny: smallest normal number; results below it may be flushed to 0, and inputs below it
            read as 0.
        factor_roundoff: largest relative error of the rounding of a product's factors; 0 where
            they are multiplied as they are.
    """

    name: str
    unit_roundoff: float
    largest: float
    tiny: float
    factor_roundoff: float = 0.0

    @property
    def product_roundoff(self) -> float:
        """Bound on the relative error of an exact product of rounded factors."""
        return 2 * self.factor_roundoff + self.factor_roundoff**2

    def gamma(self, roundings: int) -> float:
        """Bound on the relative error of a term that is rounded so many times (Higham, 3.1)."""
        return gamma(self.unit_roundoff, roundings)


FLOAT32 = Arithmetic(
    name="float32",
    unit_roundoff=2.0**-24,
    largest=float(np.finfo(np.float32).max),
    tiny=float(np.finfo(np.float32).tiny),
)
# Tensor cores round the factors to 11 significant bits and add in float32, but may cut off there
# instead of rounding to nearest: Fasi, Higham, Mikaitis and Pranesh, Numerical behavior of NVIDIA
# tensor cores (PeerJ Computer Science 7, 2021).
TF32 = Arithmetic(
    name="tf32",
    unit_roundoff=2.0**-23,
    largest=FLOAT32.largest,
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
    """Bound on the relative error of a term that is rounded so many times (Higham, 3.1).

    Args:
        unit_roundoff: largest relative error of one operation.
        roundings: that the term passes through.

    Returns:
        The bound.

    Raises:
        ParityError: when there are so many that no bound exists.
    """
    product = roundings * unit_roundoff
    if product >= 1:
        raise ParityError(
            f"sums of {roundings} terms at unit roundoff {unit_roundoff:g} have no error bound"
        )
    return product / (1 - product)
