from __future__ import annotations

import math
from itertools import pairwise
from typing import TYPE_CHECKING

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.bundle.manifest import to_json
from runtime.errors import UsageError
from runtime.monitoring import drift as module
from runtime.monitoring.drift import DriftMonitor, DriftReport, other_columns
from runtime.monitoring.psi import population_stability_index
from runtime.schema.distribution import describe_values
from runtime.schema.features import Feature, OneHot, Schema

if TYPE_CHECKING:
    from collections.abc import Sequence

    from runtime.schema.features import Float32Matrix

RANDOM = np.random.default_rng(7)
TRAINING = np.column_stack(
    [RANDOM.normal(size=1000), RANDOM.integers(1, 6, 1000), np.full(1000, 3.0)]
).astype(np.float32)
NAMES = ("height", "stars", "constant")


def schema_of(rows: Float32Matrix, names: Sequence[str] = NAMES) -> Schema:
    """The schema that the trainer derives from rows."""
    features = []
    for name, values in zip(names, rows.T, strict=True):
        seen = describe_values(values)
        features.append(
            Feature(
                name,
                seen.quantiles[0],
                seen.quantiles[-1],
                quantiles=seen.quantiles,
                shares=seen.shares,
            )
        )
    return Schema("kind", tuple(features), ("no", "yes"))


SCHEMA = schema_of(TRAINING)


def report_of(rows: Float32Matrix, schema: Schema = SCHEMA) -> DriftReport:
    """All rows in one block."""
    drift = DriftMonitor(schema)
    drift.add(rows)
    return drift.report()


def test_the_rows_of_training_have_not_drifted() -> None:
    """The training rows have index 0, the same deciles and nothing out of range."""
    readings = {"height": "stable", "stars": "stable", "constant": "constant"}
    report = report_of(TRAINING[::-1])
    assert report.rows == 1000
    for feature, seen in zip(report.features, SCHEMA.features, strict=True):
        assert (feature.psi, feature.reading) == (0, readings[feature.name])
        assert feature.quantiles == feature.training_quantiles == seen.quantiles
        assert (feature.below, feature.above) == (0, 0)
        assert (feature.minimum, feature.maximum) == (seen.minimum, seen.maximum)
        assert [each.training for each in feature.bins] == [each.scored for each in feature.bins]


BLOCKS = st.lists(st.integers(0, 40), min_size=1, max_size=8)


@given(cuts=BLOCKS, other=BLOCKS, seed=st.integers(0, 2**32), capacity=st.integers(1, 60))
def test_blocks_and_their_order_do_not_show(
    cuts: list[int], other: list[int], seed: int, capacity: int
) -> None:
    """The report is identical for any blocks, also beyond the sample's capacity."""
    random = np.random.default_rng(seed)
    rows = random.normal(size=(120, 3)).astype(np.float32).round(1)
    good = random.random(120) < 0.8
    reports = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_MAX_ALL_CELLS", 3 * capacity)
        patch.setattr(module, "_MIN_CELLS", 1)
        for ends in (cuts, other, [120]):
            drift = DriftMonitor(SCHEMA)
            bounds = [0, *np.minimum(np.cumsum(ends), 120).tolist(), 120]
            pairs = list(pairwise(bounds))
            for start, end in random.permutation(np.array(pairs)).tolist():
                chosen = good[start:end]
                drift.add(rows[start:end][chosen])
            reports.append(to_json(drift.report()))
    assert reports[0] == reports[1] == reports[2]


@given(
    st.lists(st.floats(-4, 8, width=32), min_size=1, max_size=50),
    st.lists(st.floats(-4, 8, width=32) | st.integers(1, 5), min_size=1, max_size=50),
)
def test_counts_are_those_of_a_plain_count(training: list[float], scored: list[float]) -> None:
    """Bins, out-of-range counts and extremes against loops over the rows."""
    schema = schema_of(np.array(training, dtype=np.float32)[:, None], ("f",))
    (feature,) = report_of(np.array(scored, dtype=np.float32)[:, None], schema).features
    assert feature.below == sum(value < min(training) for value in scored)
    assert feature.above == sum(value > max(training) for value in scored)
    assert (feature.minimum, feature.maximum) == (min(scored), max(scored))
    low, index = -math.inf, 0.0
    for each in feature.bins:
        high = math.inf if each.upper is None else each.upper
        e = sum(low < value <= high for value in training) / len(training)
        a = sum(low < value <= high for value in scored) / len(scored)
        assert [each.training, each.scored] == pytest.approx([e, a])
        assert each.training > 0
        a, e = max(a, 1e-4), max(e, 1e-4)
        index += (a - e) * math.log(a / e)
        low = high
    assert feature.psi == pytest.approx(index, abs=1e-12)


def test_the_index_of_equal_shares_is_nothing_and_of_an_empty_bin_finite() -> None:
    """The index follows the formula, with empty bins as 0.0001."""
    assert population_stability_index([0.1] * 10, [0.1] * 10) == 0
    assert population_stability_index([0.5, 0.5], [0.4, 0.6]) == pytest.approx(
        -0.1 * math.log(0.8) + 0.1 * math.log(1.2)
    )
    assert population_stability_index([0.5, 0.5], [1.0, 0.0]) == pytest.approx(
        0.5 * math.log(2) - 0.4999 * math.log(0.0001 / 0.5)
    )


@pytest.mark.parametrize(
    ("shift", "reading"), [(0, "stable"), (0.4, "shifted"), (1, "drifted"), (-1, "drifted")]
)
def test_a_shift_is_read_as_usual(shift: float, reading: str) -> None:
    """Rows of the training distribution are stable; shifted rows are not."""
    training = RANDOM.normal(size=(20_000, 1)).astype(np.float32)
    scored = (RANDOM.normal(size=(20_000, 1)) + shift).astype(np.float32)
    (feature,) = report_of(scored, schema_of(training, ("f",))).features
    assert feature.reading == reading


def test_a_shift_among_few_values_shows() -> None:
    """A change in the frequency of a value is drift."""
    few = np.repeat(np.array([[0.0], [1.0]], dtype=np.float32), [950, 50], axis=0)
    more = np.repeat(np.array([[0.0], [1.0]], dtype=np.float32), [500, 500], axis=0)
    for training, scored in ((few, more), (1 - few, 1 - more), (more, few)):
        (feature,) = report_of(scored, schema_of(training, ("f",))).features
        assert feature.reading == "drifted"


@pytest.mark.parametrize("rows", [0, 1, 199])
def test_few_rows_are_not_read(rows: int) -> None:
    """Few rows have figures without an interpretation."""
    report = report_of(TRAINING[:rows])
    assert report.rows == rows
    assert {feature.reading for feature in report.features} == {"too few rows", "constant"}
    assert report.features[0].reason == f"{rows:,} with a value, 200 are needed"
    assert {feature.psi is None for feature in report.features} == {rows == 0}
    assert {len(feature.quantiles) for feature in report.features} == {11 if rows else 0}


def test_quantiles_of_many_values_are_near_the_exact_ones() -> None:
    """Beyond the cells' capacity the relative error is below the one reported."""
    rows = np.column_stack([RANDOM.random(300_000), RANDOM.normal(-1e3, 9, 300_000)])
    features = rows.astype(np.float32)
    drift = DriftMonitor(schema_of(features[:1000], ("f", "g")))
    for start in range(0, len(features), 50_000):
        drift.add(features[start : start + 50_000])
    for feature, column in zip(drift.report().features, features.T, strict=True):
        assert 0 < feature.quantile_error < 1e-3
        exact = describe_values(column).quantiles
        assert feature.quantiles == pytest.approx(exact, rel=feature.quantile_error)


def test_quantiles_of_few_distinct_values_are_exact() -> None:
    """However many rows there are, in whatever order."""
    rows = np.round(RANDOM.normal(size=(400_000, 1)), 2).astype(np.float32)
    drift = DriftMonitor(schema_of(rows, ("f",)))
    for part in np.array_split(rows, 9):
        drift.add(part)
    (feature,) = drift.report().features
    assert feature.quantile_error == 0
    assert feature.quantiles == feature.training_quantiles


def test_a_bundle_without_distributions_says_what_to_do() -> None:
    """The message names up to five features and both remedies."""
    features = tuple(Feature(f"f{number}", 0, 1) for number in range(7))
    with pytest.raises(
        UsageError, match=r"no distribution for 'f0', 'f1', .*, 'f4' and 2 more: fit and"
    ) as e:
        DriftMonitor(Schema("kind", features, ("a", "b")))
    assert "leave out drift" in str(e.value)


def test_a_feature_without_a_distribution_is_named() -> None:
    """Others are compared; its range and deciles are there, and why it has no index."""
    schema = Schema("kind", (*SCHEMA.features, Feature("other", 0, 1)), ("a", "b"))
    *_, other = report_of(np.c_[TRAINING, TRAINING[:, 0] * 9], schema).features
    assert (other.name, other.psi, other.reading) == ("other", None, "no reference")
    assert other.reason == "the bundle has no distribution of its training values"
    assert other.above
    assert other.quantiles


def category_schema(*shares: float) -> Schema:
    """A schema of one column with categories a, b, c."""
    one_hot = OneHot(tuple("abc"[: len(shares)]), "other")
    return Schema("kind", (Feature("plan", 0, 1, one_hot=one_hot, shares=shares),), ("n", "y"))


def encoded(n_categories: int, codes: Sequence[int]) -> Float32Matrix:
    """Rows with these categories; -1 is none of them."""
    return np.vstack([np.eye(n_categories, dtype=np.float32), np.zeros(n_categories)])[
        list(codes)
    ].astype(np.float32)


def test_categories_drift_by_their_shares() -> None:
    """Every category has its shares; texts that are none count together, if there are any."""
    schema = category_schema(0.5, 0.3, 0.2)
    (same,) = report_of(encoded(3, [0, 0, 0, 0, 0, 1, 1, 1, 2, 2] * 30), schema).features
    assert (same.reading, [each.name for each in same.categories]) == ("stable", ["a", "b", "c"])
    assert same.psi == pytest.approx(0)
    (other,) = report_of(encoded(3, [-1, 0] * 150), schema).features
    assert other.reading == "drifted"
    assert [(each.name, each.scored) for each in other.categories] == [
        ("a", 0.5),
        ("b", 0.0),
        ("c", 0.0),
        (None, 0.5),
    ]
    (constant,) = report_of(encoded(1, [0] * 300), category_schema(1.0)).features
    assert constant.reading == "constant"


def test_columns_that_are_no_features_are_named_with_the_reason() -> None:
    """Of several tables each is named once."""
    drift = DriftMonitor(SCHEMA)
    reasons = other_columns(
        ["id", "kind", "note", "truth"], SCHEMA, {"id": "excluded by name"}, truth="truth"
    )
    for _ in range(2):
        drift.add_others(reasons)
    assert {each.name: each.reason for each in drift.report().others} == {
        "id": "left out in training: excluded by name",
        "kind": "what the model predicts",
        "note": "not read by the model, nor in its training table",
        "truth": "the true class, see accuracy",
    }


def test_a_report_survives_being_stored() -> None:
    """The report is JSON, with null for undefined figures."""
    for rows in (0, 500):
        report = report_of(TRAINING[:rows])
        assert msgspec.json.decode(to_json(report), type=DriftReport) == report
