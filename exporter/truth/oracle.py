"""The oracle: what a model answers in float64, and how far a correct engine may be from it.

In: layers and rows. Out: an ``Oracle``. Layers without a bound are a ``ParityError``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from exporter.truth.arithmetic import FLOAT32, Arithmetic
from exporter.truth.bounds import enclose_logits
from exporter.truth.enclosure import Enclosure, rows_with_all
from exporter.truth.layer import check_layers
from exporter.truth.softmax import enclose_probabilities

if TYPE_CHECKING:
    from collections.abc import Sequence

    from exporter.truth.enclosure import Mask
    from exporter.truth.layer import Layer
    from runtime.schema.features import Float32Matrix


_PIECE = 1024  # rows evaluated at a time: their values stay in the cache, and memory is bounded


@dataclass(frozen=True)
class Oracle:
    """Exact answers for some rows, with what is promised of a computed answer.

    Attributes:
        label: ``(rows,)`` int64, the first largest logit; no meaning where a logit is NaN.
        probabilities: ``(rows, classes)``.
        logits: ``(rows, classes)``.
        decidable: ``(rows,)`` bool; where the largest logit exceeds every other by more than
            their two bounds, so that every correct engine answers ``label``.
    """

    label: npt.NDArray[np.int64]
    probabilities: Enclosure
    logits: Enclosure
    decidable: Mask

    @property
    def bounded(self) -> Mask:
        """``(rows,)`` bool: where something is promised of every output."""
        return rows_with_all(np.isfinite(self.logits.error))

    @property
    def special(self) -> Mask:
        """``(rows,)`` bool: where a logit is NaN or infinite."""
        return ~rows_with_all(np.isfinite(self.logits.value))

    @property
    def undecidable(self) -> Mask:
        """``(rows,)`` bool: ordinary rows too near a class boundary for their label to be sure."""
        return self.bounded & ~self.special & ~self.decidable

    @property
    def tied(self) -> Mask:
        """``(rows,)`` bool: where several logits are exactly the largest."""
        value = self.logits.value  # (rows, classes)
        return np.asarray((value == value.max(axis=1, keepdims=True)).sum(axis=1) > 1)


# Gives the oracle's answers for rows ``(rows, n_features)`` float32.
Ask = Callable[["Float32Matrix"], Oracle]


def ask_oracle(
    layers: Sequence[Layer], features: Float32Matrix, arithmetic: Arithmetic = FLOAT32
) -> Oracle:
    """Evaluate a Linear-ReLU classifier in float64 and bound every other evaluation.

    Args:
        layers: from input to output, with ReLU between them and softmax after the last.
        features: ``(rows, inputs)`` float32, any values.
        arithmetic: of the evaluations to judge.

    Returns:
        Label, probabilities, logits and what is promised of them.

    Raises:
        ParityError: when the layers are no chain or hold NaN or infinities.
    """
    check_layers(layers)
    starts = range(0, max(len(features), 1), _PIECE)
    pieces = [_ask(layers, features[start : start + _PIECE], arithmetic) for start in starts]
    return Oracle(
        np.concatenate([piece.label for piece in pieces]),
        _join([piece.probabilities for piece in pieces]),
        _join([piece.logits for piece in pieces]),
        np.concatenate([piece.decidable for piece in pieces]),
    )


def _ask(layers: Sequence[Layer], features: Float32Matrix, arithmetic: Arithmetic) -> Oracle:
    logits = enclose_logits(layers, features, arithmetic)
    return answer_from(logits, enclose_probabilities(logits, arithmetic))


def answer_from(logits: Enclosure, probabilities: Enclosure) -> Oracle:
    """Put the oracle's answers together.

    Args:
        logits: ``(rows, classes)``.
        probabilities: ``(rows, classes)``.

    Returns:
        The same with label, and where that is sure.
    """
    label = logits.value.argmax(axis=1).astype(np.int64)  # (rows,)
    return Oracle(label, probabilities, logits, _decide(logits, label))


def _join(pieces: Sequence[Enclosure]) -> Enclosure:
    return Enclosure(
        np.concatenate([piece.value for piece in pieces]),
        np.concatenate([piece.error for piece in pieces]),
    )


def _decide(logits: Enclosure, label: npt.NDArray[np.int64]) -> Mask:
    """Say where the label's logit, at its lowest, exceeds every other at its highest."""
    with np.errstate(invalid="ignore"):  # inf - inf: nothing is promised there
        lowest = np.take_along_axis(logits.value - logits.error, label[:, None], axis=1)
        highest = logits.value + logits.error  # (rows, classes)
    np.put_along_axis(highest, label[:, None], -np.inf, axis=1)
    return rows_with_all(lowest > highest)
