from __future__ import annotations

import hashlib
from collections import Counter
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import pytest

from exporter.parity.rows import BATCHES, CHUNK, FULL, KNOWN_ROWS, ParityRows, Plan, draw_rows
from exporter.parity.sampling import (
    bisect_boundaries,
    draw_corners,
    draw_edges,
    draw_uniform,
    ranges_of,
)
from exporter.reference.bounds import enclose_logits
from exporter.reference.layers import Layer
from exporter.reference.oracle import derive_reference, predict_with
from runtime.schema.features import Feature, OneHot, Schema

if TYPE_CHECKING:
    from runtime.schema.features import Unseen

PLAN = Plan(uniform=4096, boundary=512)


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


def draw(*ranges: tuple[float, float], known: int = 5) -> ParityRows:
    middle = np.array([low / 2 + high / 2 for low, high in ranges], np.float32)
    predict = predict_with(network(len(ranges)))
    return draw_rows(schema_of(*ranges), predict, np.tile(middle, (known, 1)), PLAN)


def test_rows_are_the_same_every_time() -> None:
    """The rows are part of the proof: changing them changes the proof."""
    rows = draw((1.0, 10.0), (1.0, 5.0))
    uniform = rows.features[rows.group("uniform")]
    assert hashlib.sha256(uniform.tobytes()).hexdigest()[:16] == "db09430c8db80402"
    assert np.array_equal(draw((1.0, 10.0), (1.0, 5.0)).features, rows.features, equal_nan=True)


def test_rows_inside_stay_in_the_ranges_and_reach_their_ends() -> None:
    """Uniform rows, corners, edges and boundaries lie in the ranges; every corner is drawn."""
    rows = draw((-2.0, 3.0), (0.25, 0.5))
    inside = rows.features[: rows.inside]
    assert (inside >= [-2.0, 0.25]).all()
    assert (inside <= [3.0, 0.5]).all()
    corners = {tuple(corner) for corner in rows.features[rows.group("corners")].tolist()}
    assert corners == {(-2.0, 0.25), (-2.0, 0.5), (3.0, 0.25), (3.0, 0.5)}
    edges = rows.features[rows.group("edges")]
    assert ((edges == [-2.0, 0.25]) | (edges == [3.0, 0.5])).any(axis=1).all()


def test_special_rows_hold_every_kind_of_number() -> None:
    """NaN, infinities, both zeros, denormals and the largest numbers, alone and combined."""
    rows = draw((1.0, 10.0), (1.0, 5.0))
    special = rows.features[rows.group("special")]
    limits = np.finfo(np.float32)
    for column in special.T:
        assert np.isnan(column).any()
        assert {np.inf, -np.inf, limits.max, limits.min, limits.smallest_subnormal} <= set(column)
        zeros = column[column == 0]
        assert np.signbit(zeros).any()
        assert not np.signbit(zeros).all()
    assert (np.isinf(special).all(axis=1) & (special[:, 0] != special[:, 1])).any()


def test_rows_outside_go_to_the_end_of_float32() -> None:
    """At increasing distances, all of them finite."""
    rows = draw((1.0, 10.0), (1.0, 5.0))
    outside = rows.features[rows.group("outside")]
    assert np.isfinite(outside).all()
    assert np.abs(outside).max() == np.finfo(np.float32).max
    assert np.abs(outside).min() < 100


@pytest.mark.parametrize("features", [1, 8, 9, 300])
def test_any_number_of_features_gives_a_bounded_number_of_rows(features: int) -> None:
    """A wide table costs no more rows than a thousand or so above the uniform ones."""
    rows = draw(*[(0.0, 1.0)] * features)
    assert rows.features.shape[1] == features
    assert rows.features.dtype == np.float32
    assert PLAN.uniform < len(rows.features) < PLAN.uniform + 1700
    assert len(rows.features) == sum(block.rows for block in rows.groups)


def test_known_rows_come_first_and_are_not_too_many() -> None:
    """The first of a large test set are taken."""
    rows = draw((0.0, 1.0), known=KNOWN_ROWS + 1)
    assert rows.group("known") == slice(0, KNOWN_ROWS)


@pytest.mark.parametrize(
    "limits", [(5.0, 5.0), (-1e300, 1e300), (1e-45, 1e-44)], ids=["constant", "huge", "tiny"]
)
def test_unusual_ranges_give_finite_rows(limits: tuple[float, float]) -> None:
    """A constant column, one beyond float32, one of denormals."""
    rows = draw(limits, (0.0, 1.0))
    assert np.isfinite(rows.features[: rows.inside]).all()


def test_a_row_is_located_in_its_block() -> None:
    """Messages name a row by its group and its position there."""
    rows = draw((0.0, 1.0), known=3)
    assert rows.locate(2) == ("known", 2)
    assert rows.locate(3) == ("uniform", 0)
    assert rows.locate(len(rows.features) - 1)[0] == "special"
    with pytest.raises(IndexError):
        rows.locate(len(rows.features))
    with pytest.raises(KeyError):
        rows.group("none")


def test_a_whole_proof_has_a_million_rows_and_twenty_thousand_on_boundaries() -> None:
    """Drawn within a second or so; the 4,096 of a small proof are the first of the million."""
    few, limits = draw((-1.0, 1.0), (-1.0, 1.0)), schema_of((-1.0, 1.0), (-1.0, 1.0))
    rows = draw_rows(limits, predict_with(network(2)), few.features[:5])
    counts = {block.name: block.rows for block in rows.groups}
    assert (counts["uniform"], counts["boundary"]) == (1_000_000, 20_000)
    uniform = rows.features[rows.group("uniform")]
    assert np.array_equal(uniform[:4096], few.features[few.group("uniform")])
    assert len(np.unique(rows.features[rows.group("boundary")], axis=0)) > 15_000


def test_small_batches_run_the_first_rows_of_every_block() -> None:
    """The subsets are nested, and every block has its share in each."""
    rows = draw((-1.0, 1.0), (-1.0, 1.0))
    plan = Plan(small=10, medium=100)
    indices = [rows.first_of_each_group(plan.rows_per_group(batch)) for batch in (33, 4096, CHUNK)]
    for few, more in pairwise(indices):
        assert set(few) < set(more)
    assert len(indices[2]) == len(rows.features)
    named = [rows.locate(int(row)) for row in indices[0]]
    assert max(position for _, position in named) == 9
    assert {block for block, _ in named} == {block.name for block in rows.groups}


def test_a_part_knows_its_rows() -> None:
    """Features, numbers and how many lie inside the ranges."""
    rows = draw((1.0, 10.0), (1.0, 5.0))
    index = np.array([0, 7, rows.inside - 1, rows.inside, rows.inside + 1])
    part = rows.take(index)
    assert part.inside == 3
    assert np.array_equal(part.features, rows.features[index])


def test_the_full_plan_is_the_documented_one() -> None:
    """The batch sizes and row counts that the docs state."""
    assert BATCHES == (0, 1, 2, 3, 7, 31, 32, 33, 1024, 4095, 4096, 65_537)
    assert (FULL.batches, FULL.uniform, FULL.boundary) == (BATCHES, 1_000_000, 20_000)


def test_a_large_network_runs_fewer_rows() -> None:
    """The work stays about the same, and never falls below a few thousand rows."""
    assert FULL.for_cost(derive_reference(network(2)).cost, 2) == FULL
    wide = 512 * 512
    smaller = FULL.for_cost(wide, 2)
    assert (smaller.uniform, smaller.boundary) == (8192, 512)
    assert FULL.for_cost(100 * wide, 2).uniform == 4096
    assert FULL.for_cost(1, 2**13).uniform == 2**14  # half a gigabyte
    assert smaller.batches == BATCHES


def test_boundary_rows_are_neighbours_with_different_labels() -> None:
    """Two by two, they differ in label and by no more than a rounding or so."""
    layers = network(4)
    rows = np.random.default_rng(1).normal(size=(2000, 4)).astype(np.float32)
    pairs = bisect_boundaries(predict_with(layers), rows, limit=600).reshape(-1, 2, 4)
    assert len(pairs) == 300
    label = enclose_logits(layers, pairs.reshape(-1, 4)).value.argmax(axis=1).reshape(-1, 2)
    assert (label[:, 0] != label[:, 1]).all()
    assert (np.abs(pairs[:, 0] - pairs[:, 1]) <= 2 * np.spacing(np.abs(pairs).max(axis=1))).all()


def test_every_pair_of_classes_has_its_boundary_rows() -> None:
    """Every pair of classes gets boundary rows, however rare the classes are."""
    weight = np.array([[1, 0], [-1, 0], [0, 1]], np.float32)
    layers = (Layer(weight, np.array([0, 0, -2.5], np.float32)),)
    rows = np.random.default_rng(1).normal(size=(2000, 2)).astype(np.float32)
    predict = predict_with(layers)
    assert 0 < (predict(rows) == 2).mean() < 0.05
    found = predict(bisect_boundaries(predict, rows, limit=600)).reshape(-1, 2)
    met = Counter(tuple(sorted(pair)) for pair in found.tolist())
    assert met.keys() == {(0, 1), (0, 2), (1, 2)}
    assert min(met.values()) > 40


def test_a_model_with_one_answer_has_no_boundary() -> None:
    """No rows then, of the right width."""
    constant = (Layer(np.zeros((2, 4), np.float32), np.array([1, 0], np.float32)),)
    rows = np.ones((50, 4), np.float32)
    assert bisect_boundaries(predict_with(constant), rows, limit=100).shape == (0, 4)


@pytest.mark.parametrize("unseen", ["error", "other"])
def test_categories_are_drawn_as_they_are_read(unseen: Unseen) -> None:
    """Rows inside have one category of a column, as a table's have, and every one comes up.

    None at all is a category that training did not have: only where the model takes such.
    """
    colour = Feature("c", 0, 1, one_hot=OneHot(("a", "b", "d"), unseen))
    only = Feature("o", 0, 1, one_hot=OneHot(("a",), unseen))
    schema = Schema("y", (Feature("x", -1, 1), colour, Feature("z", 2, 3), only), ("p", "q"))
    ranges = ranges_of(schema)
    generator = np.random.default_rng(1)
    for rows in (
        draw_uniform(ranges, generator, 1000),
        draw_corners(ranges, generator),
        draw_edges(ranges, generator),
    ):
        assert rows.shape[1] == schema.n_inputs == 6
        allowed = {(1, 0, 0), (0, 1, 0), (0, 0, 1)}
        found = {tuple(row) for row in rows[:, 1:4].tolist()}
        assert allowed <= found <= allowed | ({(0, 0, 0)} if unseen == "other" else set())
        assert set(rows[:, 5].tolist()) <= ({0, 1} if unseen == "other" else {1})
        assert ranges.contain(rows).all()
