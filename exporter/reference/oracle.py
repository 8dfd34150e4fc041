"""Reference outputs: what a model computes in float64, with a tolerance for each number."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, partial
from threading import Lock
from typing import TYPE_CHECKING, Literal

import numpy as np
import numpy.typing as npt
from threadpoolctl import ThreadpoolController

from exporter.reference.bounds import enclose_logits
from exporter.reference.intervals import FLOAT32, Arithmetic, Enclosure, rows_with_all
from exporter.reference.layers import check_layers
from exporter.reference.preprocessing import NO_PREPROCESSING, Preprocessing
from exporter.reference.softmax import enclose_probabilities

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from torch.export import ExportedProgram

    from exporter.reference.intervals import Float64Matrix, Mask
    from exporter.reference.layers import Layer
    from runtime.schema.features import Float32Matrix

Tolerance = Literal["derived", "measured"]
Labels = npt.NDArray[np.intp]
Predict = Callable[["Float32Matrix"], Labels]  # (rows, n_features) float32 to labels (rows,)
# (rows, n_features) float32 and the number of a sample to logits, (rows, classes), all operations
# perturbed.
Perturb = Callable[["Float32Matrix", int], "Float64Matrix"]

# Values of the widest layer that are evaluated at a time: they stay in the cache. But each time the
# weights are converted, and of a large layer that takes as long as a hundred rows.
_VALUES = 2**17
_WEIGHTS_OF_A_ROW, _MOST = 2**10, 2**10
# Products with a side as short gain nothing by numpy's threads, which compete with everything else.
_SHORT = 128
_limiting = Lock()
# What a unit costs beside its products, for its bias, ReLU and bound: as much as so many of them.
_UNIT_COST = 16


@dataclass(frozen=True)
class ReferenceOutputs:
    """Exact outputs for some rows, with the tolerance of each."""

    label: npt.NDArray[np.int64]  # (rows,), the first largest logit; meaningless where one is NaN
    probabilities: Enclosure  # (rows, classes)
    logits: Enclosure  # (rows, classes)
    # (rows,): the largest logit exceeds every other by more than their two bounds, so that every
    # correct backend returns ``label``.
    decidable: Mask

    @classmethod
    def of(cls, logits: Enclosure, probabilities: Enclosure) -> ReferenceOutputs:
        """Add the label and whether it is decidable to logits and probabilities."""
        label = logits.value.argmax(axis=1).astype(np.int64)  # (rows,)
        return cls(label, probabilities, logits, find_decidable(logits, label))

    @property
    def bounded(self) -> Mask:
        """``(rows,)`` bool: rows whose every output has a bound."""
        return rows_with_all(np.isfinite(self.logits.error))

    @property
    def special(self) -> Mask:
        """``(rows,)`` bool: rows with a NaN or infinite logit."""
        return ~rows_with_all(np.isfinite(self.logits.value))

    @property
    def undecidable(self) -> Mask:
        """``(rows,)`` bool: ordinary rows too close to a class boundary for a certain label."""
        return self.bounded & ~self.special & ~self.decidable

    @property
    def tied(self) -> Mask:
        """``(rows,)`` bool: rows whose largest logits are exactly equal."""
        value = self.logits.value  # (rows, classes)
        return np.asarray((value == value.max(axis=1, keepdims=True)).sum(axis=1) > 1)


Evaluate = Callable[["Float32Matrix"], ReferenceOutputs]


@dataclass(frozen=True)
class Reference:
    """The reference of a model: the outputs that every backend must return.

    A ``derived`` tolerance follows from the weights: every correct backend keeps it. A
    ``measured`` one was observed on the model itself: it is evidence, not proof.
    """

    tolerance: Tolerance
    evaluate: Evaluate  # outputs with tolerances
    predict: Predict  # the exact labels alone, which is cheaper
    cost: int  # per row, in multiplications of a matrix product, approximately
    layers: tuple[Layer, ...] = ()  # of a Linear-ReLU network, from input to output
    preprocessing: Preprocessing = NO_PREPROCESSING  # before the first layer
    captured: ExportedProgram | None = None  # the graph of a measured model
    perturb: Perturb | None = None  # of a measured model: how far rounding may shift its logits

    @property
    def only_usable(self) -> bool:
        """Whether a proof runs no values that the runtime rejects: the model may fail on them."""
        return self.tolerance == "measured"


def derive_reference(
    layers: Sequence[Layer], preprocessing: Preprocessing = NO_PREPROCESSING
) -> Reference:
    """Derive the reference of a Linear-ReLU network, softmax after the last layer."""
    check_layers(layers)
    return Reference(
        tolerance="derived",
        evaluate=partial(evaluate_layers, layers, preprocessing=preprocessing),
        predict=predict_with(layers, preprocessing),
        cost=sum(layer.weight.size + _UNIT_COST * layer.bias.size for layer in layers),
        layers=tuple(layers),
        preprocessing=preprocessing,
    )


def predict_with(
    layers: Sequence[Layer], preprocessing: Preprocessing = NO_PREPROCESSING
) -> Predict:
    """Return a function that computes exact labels, without the cost of their bounds."""
    weights = [layer.weight.astype(np.float64).T for layer in layers]
    biases = [layer.bias.astype(np.float64) for layer in layers]

    def predict(rows: Float32Matrix) -> Labels:
        values = preprocessing.evaluate(rows)  # (rows, width)
        for position, (weight, bias) in enumerate(zip(weights, biases, strict=True)):
            values = np.maximum(values, 0) if position else values
            values = values @ weight + bias
        return np.asarray(values.argmax(axis=1))

    def predict_in_chunks(rows: Float32Matrix) -> Labels:
        with _limit_threads(layers):
            return np.concatenate([predict(chunk) for chunk in _chunks(layers, rows)])

    return predict_in_chunks


def evaluate_layers(
    layers: Sequence[Layer],
    features: Float32Matrix,
    arithmetic: Arithmetic = FLOAT32,
    *,
    preprocessing: Preprocessing = NO_PREPROCESSING,
) -> ReferenceOutputs:
    """Evaluate a Linear-ReLU classifier in float64 and bound every other evaluation.

    ``features`` are ``(rows, inputs)`` float32, any values; the bounds are for ``arithmetic``.
    """
    check_layers(layers)
    chunks = []
    with _limit_threads(layers):
        for rows in _chunks(layers, features):
            logits = enclose_logits(layers, rows, arithmetic, preprocessing)
            chunks.append(ReferenceOutputs.of(logits, enclose_probabilities(logits, arithmetic)))
    return ReferenceOutputs(
        np.concatenate([chunk.label for chunk in chunks]),
        _concatenate([chunk.probabilities for chunk in chunks]),
        _concatenate([chunk.logits for chunk in chunks]),
        np.concatenate([chunk.decidable for chunk in chunks]),
    )


def _chunks(layers: Sequence[Layer], rows: Float32Matrix) -> Iterator[Float32Matrix]:
    """Cut rows so that a layer's values stay in the cache; no rows are one chunk without any."""
    widest = max(max(layer.weight.shape) for layer in layers)
    weights = max(layer.weight.size for layer in layers)
    size = max(_VALUES // widest, min(weights // _WEIGHTS_OF_A_ROW, _MOST))
    for start in range(0, max(len(rows), 1), size):
        yield rows[start : start + size]


@contextmanager
def _limit_threads(layers: Sequence[Layer]) -> Iterator[None]:
    """Use one of numpy's threads where all products are small, its usual number elsewhere."""
    if any(min(layer.weight.shape) > _SHORT for layer in layers):
        yield
        return
    # The number is the process's: two threads would each restore what the other has set.
    with _limiting, _threads().limit(limits=1, user_api="blas"):
        yield


@cache
def _threads() -> ThreadpoolController:
    return ThreadpoolController()  # finds the libraries that are loaded


def _concatenate(chunks: Sequence[Enclosure]) -> Enclosure:
    return Enclosure(
        np.concatenate([chunk.value for chunk in chunks]),
        np.concatenate([chunk.error for chunk in chunks]),
    )


def find_decidable(logits: Enclosure, label: npt.NDArray[np.int64]) -> Mask:
    """Find rows where the label's logit, at its lowest, exceeds every other at its highest."""
    with np.errstate(invalid="ignore"):  # inf - inf: there is no bound
        lowest = np.take_along_axis(logits.value - logits.error, label[:, None], axis=1)
        highest = logits.value + logits.error  # (rows, classes)
    np.put_along_axis(highest, label[:, None], -np.inf, axis=1)
    return rows_with_all(lowest > highest)
