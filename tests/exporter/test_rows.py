from __future__ import annotations

import hashlib

import numpy as np
import pytest

from exporter.boundary import bisect_boundaries
from exporter.bounds import Layer, enclose_logits
from exporter.rows import KNOWN_ROWS, UNIFORM_ROWS, ProofRows, draw_rows
from runtime.schema import Feature, Schema


def schema_of(*ranges: tuple[float, float]) -> Schema:
    features = tuple(Feature(f"f{at}", *limits) for at, limits in enumerate(ranges))
    return Schema("kind", features, ("x", "y", "z"))


def network(inputs: int, seed: int = 0) -> tuple[Layer, ...]:
    random = np.random.default_rng(seed)
    return tuple(
        Layer(
            random.normal(size=(outputs, wide)).astype(np.float32),
            random.normal(size=outputs).astype(np.float32),
        )
        for outputs, wide in ((8, inputs), (3, 8))
    )


def draw(*ranges: tuple[float, float], known: int = 5) -> ProofRows:
    middle = np.array([low / 2 + high / 2 for low, high in ranges], np.float32)
    return draw_rows(schema_of(*ranges), network(len(ranges)), np.tile(middle, (known, 1)))


def test_rows_are_the_same_every_time() -> None:
    """The rows are part of the proof's meaning: a change of them is a change of the proof."""
    rows = draw((1.0, 10.0), (1.0, 5.0))
    uniform = rows.features[rows.block("uniform")]
    assert hashlib.sha256(uniform.tobytes()).hexdigest()[:16] == "db09430c8db80402"
    assert np.array_equal(draw((1.0, 10.0), (1.0, 5.0)).features, rows.features, equal_nan=True)


def test_rows_inside_stay_in_the_ranges_and_reach_their_ends() -> None:
    """Uniform rows, corners, edges and boundaries lie in the ranges; every corner is met."""
    rows = draw((-2.0, 3.0), (0.25, 0.5))
    inside = rows.features[: rows.inside]
    assert (inside >= [-2.0, 0.25]).all()
    assert (inside <= [3.0, 0.5]).all()
    corners = {tuple(corner) for corner in rows.features[rows.block("corners")].tolist()}
    assert corners == {(-2.0, 0.25), (-2.0, 0.5), (3.0, 0.25), (3.0, 0.5)}
    edges = rows.features[rows.block("edges")]
    assert ((edges == [-2.0, 0.25]) | (edges == [3.0, 0.5])).any(axis=1).all()


def test_special_rows_hold_every_kind_of_number() -> None:
    """NaN, infinities, both zeros, denormals and the largest numbers, alone and in company."""
    rows = draw((1.0, 10.0), (1.0, 5.0))
    special = rows.features[rows.block("special")]
    limits = np.finfo(np.float32)
    for column in special.T:
        assert np.isnan(column).any()
        assert {np.inf, -np.inf, limits.max, limits.min, limits.smallest_subnormal} <= set(column)
        zeros = column[column == 0]
        assert np.signbit(zeros).any()
        assert not np.signbit(zeros).all()
    assert (np.isinf(special).all(axis=1) & (special[:, 0] != special[:, 1])).any()


def test_rows_outside_go_to_the_end_of_float32() -> None:
    """Ever farther, all of them finite."""
    rows = draw((1.0, 10.0), (1.0, 5.0))
    outside = rows.features[rows.block("outside")]
    assert np.isfinite(outside).all()
    assert np.abs(outside).max() == np.finfo(np.float32).max
    assert np.abs(outside).min() < 100


@pytest.mark.parametrize("features", [1, 8, 9, 300])
def test_any_number_of_features_gives_a_bounded_number_of_rows(features: int) -> None:
    """A wide table costs no more rows than a thousand or so above the uniform ones."""
    rows = draw(*[(0.0, 1.0)] * features)
    assert rows.features.shape[1] == features
    assert rows.features.dtype == np.float32
    assert UNIFORM_ROWS < len(rows.features) < UNIFORM_ROWS + 1700
    assert len(rows.features) == sum(block.rows for block in rows.blocks)


def test_known_rows_come_first_and_are_not_too_many() -> None:
    """The first of a large test set are taken."""
    rows = draw((0.0, 1.0), known=KNOWN_ROWS + 1)
    assert rows.block("known") == slice(0, KNOWN_ROWS)


@pytest.mark.parametrize(
    "limits", [(5.0, 5.0), (-1e300, 1e300), (1e-45, 1e-44)], ids=["constant", "huge", "tiny"]
)
def test_unusual_ranges_give_finite_rows(limits: tuple[float, float]) -> None:
    """A constant column, one beyond float32, one of denormals."""
    rows = draw(limits, (0.0, 1.0))
    assert np.isfinite(rows.features[: rows.inside]).all()


def test_a_row_is_located_in_its_block() -> None:
    """Messages name a row by its block and its place there."""
    rows = draw((0.0, 1.0), known=3)
    assert rows.locate(2) == ("known", 2)
    assert rows.locate(3) == ("uniform", 0)
    assert rows.locate(len(rows.features) - 1)[0] == "special"
    with pytest.raises(IndexError):
        rows.locate(len(rows.features))
    with pytest.raises(KeyError):
        rows.block("none")


def test_boundary_rows_are_neighbours_with_different_labels() -> None:
    """Two by two, they differ in label and by no more than a rounding or so."""
    layers = network(4)
    rows = np.random.default_rng(1).normal(size=(2000, 4)).astype(np.float32)
    pairs = bisect_boundaries(layers, rows).reshape(-1, 2, 4)
    assert len(pairs) == 256
    label = enclose_logits(layers, pairs.reshape(-1, 4)).value.argmax(axis=1).reshape(-1, 2)
    assert (label[:, 0] != label[:, 1]).all()
    assert (np.abs(pairs[:, 0] - pairs[:, 1]) <= 2 * np.spacing(np.abs(pairs).max(axis=1))).all()
    assert len({tuple(sorted(pair)) for pair in label.tolist()}) == 3


def test_a_model_with_one_answer_has_no_boundary() -> None:
    """No rows then, of the right width."""
    constant = (Layer(np.zeros((2, 4), np.float32), np.array([1, 0], np.float32)),)
    assert bisect_boundaries(constant, np.ones((50, 4), np.float32)).shape == (0, 4)
