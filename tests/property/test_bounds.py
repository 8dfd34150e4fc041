"""The bounds hold for every order of summation, and are tight."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from exporter.parity.sampling import bisect_boundaries
from exporter.reference.bounds import enclose_linear, enclose_logits
from exporter.reference.intervals import FLOAT16, FLOAT32, TF32, Enclosure
from exporter.reference.layers import Layer
from exporter.reference.oracle import evaluate_layers, predict_with
from exporter.reference.softmax import enclose_probabilities

Matrix = npt.NDArray[Any]  # float16 or float32, as the rows are
Linear = Callable[[Matrix, Matrix, Matrix], Matrix]  # inputs, weight, bias -> outputs

TINY = np.finfo(np.float32).tiny
TIGHT = 100  # a bound is at most about so many times the worst error seen


def by_library(inputs: Matrix, weight: Matrix, bias: Matrix) -> Matrix:
    """Whatever order numpy's BLAS sums in."""
    return inputs @ weight.T + bias


def one_by_one(inputs: Matrix, weight: Matrix, bias: Matrix) -> Matrix:
    """From the first product to the last, then the bias."""
    total = np.zeros((len(inputs), len(bias)), inputs.dtype)
    for column in range(weight.shape[1]):
        total = total + inputs[:, column, None] * weight[:, column]
    return total + bias


def backwards_from_bias(inputs: Matrix, weight: Matrix, bias: Matrix) -> Matrix:
    """The bias first, then from the last product to the first."""
    total = np.broadcast_to(bias, (len(inputs), len(bias)))
    for column in reversed(range(weight.shape[1])):
        total = total + inputs[:, column, None] * weight[:, column]
    return total


def permuted(inputs: Matrix, weight: Matrix, bias: Matrix) -> Matrix:
    """In an arbitrary order."""
    order = np.random.default_rng(weight.shape[1]).permutation(weight.shape[1])
    return one_by_one(inputs[:, order], weight[:, order], bias)


def fused(inputs: Matrix, weight: Matrix, bias: Matrix) -> Matrix:
    """With fused multiply-adds: a product is not rounded before it is added."""
    total: Matrix = np.broadcast_to(bias, (len(inputs), len(bias)))
    for column in range(weight.shape[1]):
        product = inputs[:, column, None].astype(np.float64) * weight[:, column]
        total = np.asarray((total + product).astype(inputs.dtype))
    return total


def in_blocks(inputs: Matrix, weight: Matrix, bias: Matrix) -> Matrix:
    """Blocks of four, each summed alone, as vector units do."""
    none = np.zeros_like(bias)
    total: Matrix = bias
    for start in range(0, weight.shape[1], 4):
        part = slice(start, start + 4)
        total = np.asarray(total + one_by_one(inputs[:, part], weight[:, part], none))
    return total


def pairwise_sums(inputs: Matrix, weight: Matrix, bias: Matrix) -> Matrix:
    """Neighbours first, then sums of neighbours, like a tree."""
    terms = inputs[:, None, :] * weight  # (rows, outputs, inputs)
    while terms.shape[2] > 1:
        if terms.shape[2] % 2:
            terms = np.concatenate([terms, np.zeros_like(terms[:, :, :1])], axis=2)
        terms = terms[:, :, 0::2] + terms[:, :, 1::2]
    total: Matrix = terms[:, :, 0] + bias
    return total


def flush(values: Matrix) -> Matrix:
    """Denormals become 0, as in engines that save the time they take."""
    return np.where(np.abs(values) < TINY, np.zeros_like(values), values)


def flushing(inputs: Matrix, weight: Matrix, bias: Matrix) -> Matrix:
    """One by one, with denormals flushed wherever they are read or written."""
    inputs, weight, bias = flush(inputs), flush(weight), flush(bias)
    total = np.zeros((len(inputs), len(bias)), inputs.dtype)
    for column in range(weight.shape[1]):
        total = flush(total + flush(inputs[:, column, None] * weight[:, column]))
    return flush(total + bias)


ORDERS: tuple[Linear, ...] = (
    by_library,
    one_by_one,
    backwards_from_bias,
    permuted,
    fused,
    in_blocks,
    pairwise_sums,
    flushing,
)


def evaluate(layers: tuple[Layer, ...], features: Matrix, linear: Linear) -> Matrix:
    """Logits in the dtype of ``features``."""
    values = features
    for position, layer in enumerate(layers):
        if position:
            values = np.maximum(values, 0)
        weight, bias = layer.weight.astype(features.dtype), layer.bias.astype(features.dtype)
        values = linear(values, weight, bias)
    return values


def softmax(logits: Matrix) -> Matrix:
    """In the dtype of ``logits``."""
    terms: Matrix = np.exp(logits - logits.max(axis=1, keepdims=True))
    total: Matrix = terms.sum(axis=1, keepdims=True)
    return terms / total


def softmax_by_reciprocal(logits: Matrix) -> Matrix:
    """Summed backwards, and multiplied by the sum's reciprocal."""
    terms: Matrix = np.exp(logits - logits.max(axis=1, keepdims=True))
    total: Matrix = np.zeros((len(logits), 1), logits.dtype)
    for column in reversed(range(logits.shape[1])):
        total = total + terms[:, column, None]
    return terms * (1 / total)


def softmax_of_two(logits: Matrix) -> Matrix:
    """As model.onnx has it for two classes: 1 / (1 + exp(other - own))."""
    with np.errstate(over="ignore"):
        odds: Matrix = np.exp(logits[:, ::-1] - logits)
    return 1 / (odds + 1)


def finishes(logits: Matrix) -> tuple[Callable[[Matrix], Matrix], ...]:
    """The evaluations of softmax that there are for so many classes."""
    any_classes = (softmax, softmax_by_reciprocal)
    return (*any_classes, softmax_of_two) if logits.shape[1] == 2 else any_classes


@dataclass(frozen=True)
class Case:
    """A network and rows for it."""

    layers: tuple[Layer, ...]
    features: Matrix


def some_zeros(numbers: Matrix, share: float, random: np.random.Generator) -> Matrix:
    """Set a share of numbers to 0, with their signs."""
    return np.where(random.random(numbers.shape) < share, 0 * numbers, numbers)


@st.composite
def cases(
    draw: st.DrawFn,
    *,
    largest_scale: float = 3.0,
    rows: int = 64,
    widest: int = 40,
    zeros: tuple[float, ...] = (0, 0.5, 0.9),
) -> Case:
    """Networks of 1 to 4 layers and 2 to 6 classes, small and large, and rows likewise.

    One of the shares ``zeros`` of all features, and of all weights, is 0 or -0.
    """
    scale = st.floats(-largest_scale, largest_scale).map(lambda power: 10.0**power)
    depth = draw(st.integers(1, 4))
    width = st.integers(1, widest)
    widths = [draw(st.integers(1, 8)), *(draw(width) for _ in range(depth - 1))]
    widths.append(draw(st.integers(2, 6)))
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    layers = []
    for inputs, outputs in pairwise(widths):
        weight = random.normal(size=(outputs, inputs)) * draw(scale) / np.sqrt(inputs)
        weight = some_zeros(weight, draw(st.sampled_from(zeros)), random)
        bias = random.normal(size=outputs) * draw(scale)
        layers.append(Layer(weight.astype(np.float32), bias.astype(np.float32)))
    features = random.normal(size=(rows, widths[0])) * draw(scale)
    features = some_zeros(features, draw(st.sampled_from(zeros)), random)
    return Case(tuple(layers), features.astype(np.float32))


@given(cases())
def test_no_order_of_summation_leaves_the_bound(case: Case) -> None:
    """Logits and probabilities in float32 stay within the bound of the float64 reference."""
    expected = evaluate_layers(case.layers, case.features)
    for linear in ORDERS:
        logits = evaluate(case.layers, case.features, linear)
        assert (np.abs(logits - expected.logits.value) <= expected.logits.error).all(), linear
        for finish in finishes(logits):
            error = np.abs(finish(logits) - expected.probabilities.value)
            assert (error <= expected.probabilities.error).all(), (linear, finish)


@given(cases())
def test_decidable_labels_are_the_same_in_every_order(case: Case) -> None:
    """Where the reference marks a label as decidable, no evaluation returns another."""
    near = bisect_boundaries(predict_with(case.layers), case.features, limit=512)
    # From the boundary itself to where the label is plain, in steps of about one rounding.
    steps = [near * np.float32(1 + power * 2.0**-23) for power in range(0, 64, 8)]
    features = np.concatenate([case.features, *steps])
    expected = evaluate_layers(case.layers, features)
    for linear in ORDERS:
        label = evaluate(case.layers, features, linear).argmax(axis=1)
        assert (label == expected.label)[expected.decidable].all()


@given(st.integers(0, 2**32 - 1), st.integers(2, 12), st.integers(0, 3))
def test_units_at_the_edge_of_switching_on_stay_within_the_bound(
    seed: int, width: int, deeper: int
) -> None:
    """Where a unit's sum is 0 but for rounding, ReLU may pass it or not: the bound knows both."""
    random = np.random.default_rng(seed)
    weight = random.normal(size=(1, width)).astype(np.float32)
    features = random.normal(size=(256, width)).astype(np.float32)
    others = features[:, :-1].astype(np.float64) @ weight[0, :-1].astype(np.float64)
    features[:, -1] = -others / weight[0, -1]
    widths = [1, *(3 for _ in range(deeper)), 2]  # without biases: what rounds there is small
    following = [
        Layer(random.normal(size=(n, m)).astype(np.float32), np.zeros(n, np.float32))
        for m, n in pairwise(widths)
    ]
    layers = (Layer(weight, np.zeros(1, np.float32)), *following)
    logits = enclose_logits(layers, features)
    for linear in ORDERS:
        error = np.abs(evaluate(layers, features, linear) - logits.value)
        assert (error <= logits.error).all()


@given(st.integers(0, 2**32 - 1), st.integers(2, 6), st.floats(-2, 2.2))
def test_softmax_of_exact_logits_stays_within_its_bound(
    seed: int, classes: int, power: float
) -> None:
    """What softmax rounds by itself is bounded, also far from the largest logit."""
    random = np.random.default_rng(seed)
    exact = (random.normal(size=(256, classes)) * 10.0**power).astype(np.float32)
    logits = Enclosure(exact.astype(np.float64), np.zeros(exact.shape))
    probabilities = enclose_probabilities(logits)
    for finish in finishes(exact):
        error = np.abs(finish(exact) - probabilities.value)
        assert (error <= probabilities.error).all()
    assert probabilities.error.max() < 1e-4


@given(cases(), st.floats(-44, -30))
def test_flushed_denormals_stay_within_the_bound(case: Case, power: float) -> None:
    """Values around the smallest normal number may be kept or flushed to 0."""
    shrink = np.float32(10.0**power)
    layers = tuple(Layer(layer.weight, layer.bias * shrink) for layer in case.layers)
    features = case.features * shrink
    logits = enclose_logits(layers, features)
    for linear in (one_by_one, flushing):
        got = evaluate(layers, features, linear)
        assert (np.abs(got - logits.value) <= logits.error).all()


@given(cases(), st.floats(-44, -36))
def test_flushed_weights_stay_within_the_bound(case: Case, power: float) -> None:
    """Weights around the smallest normal number may be flushed, whatever they are multiplied by."""
    shrink = np.float32(10.0**power)
    first, *others = case.layers
    layers = (Layer(first.weight * shrink, first.bias * shrink), *others)
    features = case.features / shrink.clip(np.float32(1e-34))
    logits = enclose_logits(layers, features)
    for linear in (one_by_one, fused, flushing):
        got = evaluate(layers, features, linear)
        assert (np.abs(got - logits.value) <= logits.error).all()


def test_only_a_weight_that_may_be_flushed_loses_its_input() -> None:
    """A number of 3e38 loses much with a denormal weight, nothing with one of 0 or a normal one."""
    weights = np.array([[0], [-0.0], [2 * TINY], [TINY / 2]], np.float32)
    features = np.full((1, 1), 3e38, np.float32)
    layers = [Layer(row[None], np.ones(1, np.float32)) for row in weights]
    errors = [enclose_logits([layer], features).error.item() for layer in layers]
    lost = [abs(evaluate((layer,), features, flushing).item() - 1) for layer in layers]
    assert max(errors[:2]) < 1e-6
    assert errors[2] < 1e-5 < lost[2]  # kept: 2 * TINY is normal
    assert lost[3] == 0  # of 1.76
    assert errors[3] > 1.7
    assert enclose_logits([layers[0]], features, TF32).error.item() < 1e-5


def nearest(exact: Fraction) -> Fraction:
    """Round to float32."""
    near = np.float32(float(exact))
    ends = (np.nextafter(near, np.float32(side)) for side in (-np.inf, np.inf))
    candidates = (Fraction(float(each)) for each in (near, *ends))
    return min(candidates, key=lambda each: abs(each - exact))


def add_up(terms: list[Fraction], random: np.random.Generator) -> Fraction:
    """Add the exact products of a sum in float32, in a random tree, some in fused multiply-adds."""
    left = [(term, False) for term in terms]  # with whether it is rounded
    while len(left) > 1:
        (first, is_rounded), (second, _) = (left.pop(random.integers(len(left))) for _ in "12")
        fused = is_rounded and random.random() < 0.5
        left.append((nearest(nearest(first) + (second if fused else nearest(second))), True))
    return nearest(left[0][0])


@settings(max_examples=20)
@given(cases(rows=1, widest=20))
def test_only_what_is_not_0_rounds_in_exact_arithmetic(case: Case) -> None:
    """Each sum of n non-zero products keeps gamma(n + 1), with zeros in it and added to it."""
    random = np.random.default_rng(len(case.layers))
    inputs = case.features
    for layer in case.layers:
        enclosed = enclose_linear(
            layer, Enclosure(inputs.astype(np.float64), np.zeros(inputs.shape))
        )
        for output, (weights, bias) in enumerate(zip(layer.weight, layer.bias, strict=True)):
            pairs = zip(weights.tolist(), inputs[0].tolist(), strict=True)
            terms = [Fraction(weight) * Fraction(value) for weight, value in pairs]
            terms.append(Fraction(bias.item()))
            got = add_up(terms + [Fraction()] * 4, random)
            n = int(np.count_nonzero(weights * inputs[0]))
            gamma = Fraction(n + 1, 2**24 - n - 1)
            assert abs(got - sum(terms)) <= gamma * sum(map(abs, terms))
            error = abs(got - Fraction(enclosed.value[0, output].item()))
            assert error <= Fraction(enclosed.error[0, output].item())
        inputs = np.maximum(enclosed.value, 0).astype(np.float32)


@pytest.mark.parametrize("zero", ["inputs", "weights", "units"])
def test_the_bound_is_reached_but_for_one_rounding(zero: str) -> None:
    """Half a unit in the last place is lost with each of 8 products, nothing with 192 zeros."""
    is_zero = np.arange(200) % 25 > 0
    weight = np.full((1, 200), 2.0**-24, np.float32)
    features = np.ones((1, 200), np.float32)
    layers = [Layer(weight, np.ones(1, np.float32))]
    if zero == "weights":
        weight[0, is_zero], features[0, is_zero] = 0, 1000
    else:
        weight[0, is_zero], features[0, is_zero] = 1000, 0 if zero == "inputs" else -1
    if zero == "units":
        layers.insert(0, Layer(np.eye(200, dtype=np.float32), np.zeros(200, np.float32)))
    logits = enclose_logits(layers, features)
    error = np.abs(evaluate(tuple(layers), features, backwards_from_bias) - logits.value)
    assert 0.88 < error / logits.error <= 8 / 9
    tf32 = enclose_logits(layers[-1:], np.maximum(features, 0), TF32)
    assert tf32.error > TF32.gamma(201)


def to_nearest_even(values: Matrix) -> Matrix:
    """Round float32 to TF32's 11 significant bits, ties to even."""
    bits = np.ascontiguousarray(values).view(np.uint32)
    kept = (bits + np.uint32(0xFFF) + (bits >> 13 & 1)) & np.uint32(0xFFFFE000)
    return np.asarray(kept.view(np.float32))


def to_nearest_away(values: Matrix) -> Matrix:
    """The same, ties away from 0, as the instruction of the GPU does."""
    bits = np.ascontiguousarray(values).view(np.uint32)
    return np.asarray(((bits + np.uint32(0x1000)) & np.uint32(0xFFFFE000)).view(np.float32))


def chop(values: Matrix) -> Matrix:
    """Cut float64 off to float32, towards 0."""
    nearest = values.astype(np.float32)
    return np.where(np.abs(nearest) > np.abs(values), np.nextafter(nearest, np.float32(0)), nearest)


def chopping(inputs: Matrix, weight: Matrix, bias: Matrix) -> Matrix:
    """One by one in float32, every sum cut off instead of rounded."""
    total = np.zeros((len(inputs), len(bias)), np.float32)
    for column in range(weight.shape[1]):
        product = inputs[:, column, None].astype(np.float64) * weight[:, column]
        total = chop(total + product)
    return chop(total.astype(np.float64) + bias)


def in_tf32(linear: Linear, rounded: Callable[[Matrix], Matrix]) -> Linear:
    """Round the factors, and sum in float32 in some order."""
    return lambda inputs, weight, bias: linear(rounded(inputs), rounded(weight), bias)


@given(cases())
def test_tf32_stays_within_its_bound(case: Case) -> None:
    """Factors of 11 bits, sums in float32: rounded or cut off, in any order."""
    logits = enclose_logits(case.layers, case.features, TF32)
    probabilities = enclose_probabilities(logits, TF32)
    for linear in (*ORDERS, chopping):
        for rounded in (to_nearest_even, to_nearest_away):
            got = evaluate(case.layers, case.features, in_tf32(linear, rounded))
            assert (np.abs(got - logits.value) <= logits.error).all(), linear
            error = np.abs(softmax(got) - probabilities.value)
            assert (error <= probabilities.error).all(), linear


def test_tf32_is_outside_the_bound_of_float32() -> None:
    """A proof for float32 notices products that were rounded to TF32."""
    random = np.random.default_rng(3)
    layer = Layer(*(random.normal(size=size).astype(np.float32) for size in ((4, 16), 4)))
    features = random.normal(size=(256, 16)).astype(np.float32)
    logits = enclose_logits([layer], features)
    got = evaluate((layer,), features, in_tf32(one_by_one, to_nearest_even))
    assert ((np.abs(got - logits.value) > logits.error).mean(axis=0) > 0.9).all()


@settings(max_examples=30)
@given(cases(largest_scale=0.5, rows=2048, widest=40, zeros=(0,)))
def test_the_bound_of_tf32_is_tight(case: Case) -> None:
    """The bound is tight for these products, too."""
    logits = enclose_logits(case.layers, case.features, TF32)
    assume(len(np.unique(logits.value[:, 0])) > len(case.features) / 2)
    got = evaluate(case.layers, case.features, in_tf32(one_by_one, to_nearest_even))
    assert (np.abs(got - logits.value) / logits.error).max() >= 1 / TIGHT


@given(cases(largest_scale=0.5))
def test_float16_stays_within_its_bound(case: Case) -> None:
    """A float32 model whose parameters and features are rounded to float16, and run in it."""
    features = case.features.astype(np.float16)
    logits = enclose_logits(case.layers, case.features, FLOAT16)
    probabilities = enclose_probabilities(logits, FLOAT16)
    for linear in (one_by_one, backwards_from_bias, in_blocks, pairwise_sums, by_library):
        got = evaluate(case.layers, features, linear)
        assert got.dtype == np.float16
        assert (np.abs(got - logits.value) <= logits.error).all()
        assert (np.abs(softmax(got) - probabilities.value) <= probabilities.error).all()


@settings(max_examples=50)
@given(cases(largest_scale=0.5, rows=2048, widest=40, zeros=(0,)))
@pytest.mark.slow
def test_the_bound_is_tight(case: Case) -> None:
    """Over some thousand rows the worst error comes near its bound: the bound is tight."""
    expected = evaluate_layers(case.layers, case.features)
    # Units that never switch on, and probabilities that are 0 or 1, bring no error to compare.
    assume(len(np.unique(expected.logits.value[:, 0])) > len(case.features) / 2)
    assume(np.median(expected.probabilities.value.max(axis=1)) < 0.999)
    worst_logit = worst_probability = 0.0
    for linear in ORDERS:
        logits = evaluate(case.layers, case.features, linear)
        error = np.abs(logits - expected.logits.value)
        worst_logit = max(worst_logit, float((error / expected.logits.error).max()))
        error = np.abs(softmax(logits) - expected.probabilities.value)
        ratio = float((error / expected.probabilities.error).max())
        worst_probability = max(worst_probability, ratio)
    assert worst_logit >= 1 / TIGHT
    assert worst_probability >= 1 / TIGHT


SPECIALS = (np.nan, np.inf, -np.inf, 0.0, -0.0, 1.0, -2.5)


@given(cases(largest_scale=1.0), st.integers(0, 2**32 - 1))
def test_nan_and_infinities_come_out_where_the_reference_has_them(case: Case, seed: int) -> None:
    """Whatever the order, special inputs give the same special outputs; zero weights included."""
    random = np.random.default_rng(seed)
    layers = tuple(
        Layer(np.where(random.random(layer.weight.shape) < 0.1, 0, layer.weight), layer.bias)
        for layer in case.layers
    )
    special = random.choice(SPECIALS, size=case.features.shape).astype(np.float32)
    features = np.where(random.random(case.features.shape) < 0.5, special, case.features)
    expected = evaluate_layers(layers, features)
    assert np.isfinite(expected.logits.error).all()
    with np.errstate(invalid="ignore"):
        for linear in (one_by_one, backwards_from_bias, in_blocks):
            logits = evaluate(layers, features, linear)
            for got, exact in (
                (logits, expected.logits),
                (softmax(logits), expected.probabilities),
            ):
                ordinary = np.isfinite(exact.value)
                assert np.array_equal(got[~ordinary], exact.value[~ordinary], equal_nan=True)
                error = np.abs(got[ordinary] - exact.value[ordinary])
                assert (error <= exact.error[ordinary]).all()


@given(cases(largest_scale=1.0), st.floats(30, 38.5))
def test_there_is_no_bound_where_float32_may_overflow(case: Case, power: float) -> None:
    """Near float32's largest number the bound holds or is infinite, and labels stay decidable."""
    largest = np.finfo(np.float32).max
    features = np.clip(case.features.astype(np.float64) * 10.0**power, -largest, largest)
    expected = evaluate_layers(case.layers, features.astype(np.float32))
    with np.errstate(over="ignore", invalid="ignore"):
        logits = evaluate(case.layers, features.astype(np.float32), one_by_one)
        error = np.abs(logits - expected.logits.value)
    bounded = np.isfinite(expected.logits.error)
    assert (error[bounded] <= expected.logits.error[bounded]).all()
    assert (bounded.all(axis=1) | np.isinf(expected.probabilities.error).all(axis=1)).all()
    assert (logits.argmax(axis=1) == expected.label)[expected.decidable].all()


def test_overflow_is_seen() -> None:
    """Two large terms that cancel exactly may still overflow on the way: there is no bound."""
    layers = (Layer(np.array([[1, 1], [0, 1]], np.float32), np.zeros(2, np.float32)),)
    features = np.array([[3e38, -3e38], [3e38, 3e38], [1, 2]], np.float32)
    error = enclose_logits(layers, features).error
    assert np.isinf(error).tolist() == [[True, False], [True, False], [False, False]]


def test_what_float16_cannot_hold_has_no_bound() -> None:
    """A feature or weight beyond 65,504 is infinite in float16, however small its product is."""
    weight = np.array([[1e-4, 1], [1e5, 1e-6]], np.float32)
    layers = (Layer(weight, np.zeros(2, np.float32)),)
    features = np.array([[1e5, 1], [0, 1]], np.float32)
    error = enclose_logits(layers, features, FLOAT16).error
    assert np.isinf(error).tolist() == [[True, True], [False, True]]
    assert np.isfinite(enclose_logits(layers, features).error).all()


def test_what_tf32_rounds_to_infinity_has_no_bound() -> None:
    """The largest numbers of float32 may become infinite as factors: NaN with a weight of 0."""
    largest = np.finfo(np.float32).max
    features = np.array([[largest], [TF32.largest]], np.float32)
    layers = (Layer(np.zeros((1, 1), np.float32), np.zeros(1, np.float32)),)
    with np.errstate(invalid="ignore"):
        got = evaluate(layers, features, in_tf32(one_by_one, to_nearest_even))
    assert np.isnan(got).tolist() == [[True], [False]]
    assert np.isinf(enclose_logits(layers, features, TF32).error).tolist() == [[True], [False]]
    assert np.isfinite(enclose_logits(layers, features).error).all()


def test_sums_as_long_as_the_arithmetic_bears_may_overflow() -> None:
    """2,000 terms in float16 may be off by many times their size, and so beyond the largest."""
    layers = (Layer(np.full((1, 2000), 2, np.float32), np.zeros(1, np.float32)),)
    features = np.ones((1, 2000), np.float32)
    assert np.isinf(enclose_logits(layers, features, FLOAT16).error).all()
    assert np.isfinite(enclose_logits(layers, features / np.float32(8), FLOAT16).error).all()


@pytest.mark.parametrize("terms", [1, 2, 33, 1025])
def test_gamma_is_highams(terms: int) -> None:
    """gamma(n) = n u / (1 - n u) with u = 2^-24."""
    assert FLOAT32.gamma(terms) == terms * 2.0**-24 / (1 - terms * 2.0**-24)


def test_logits_that_may_be_anything_leave_probabilities_open() -> None:
    """A far logit that its error may bring to the top may also bring its probability to 1."""
    logits = Enclosure(np.array([[0.0, -1000.0]]), np.array([[600.0, 600.0]]))
    probabilities = enclose_probabilities(logits)
    assert probabilities.value.tolist() == [[1.0, 0.0]]
    assert (probabilities.error >= 1).all()
    assert (probabilities.error < 1.001).all()
