"""Counts of the parts of a table merge to the counts of the whole, in any order."""

from __future__ import annotations

import pickle
from functools import reduce
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.monitoring.monitor import Monitor, MonitorCounts
from runtime.monitoring.quantiles import QuantileSketch
from runtime.schema.distribution import describe_values
from runtime.schema.features import Feature, Schema
from runtime.session import Outputs
from runtime.tables.base import Parsed

if TYPE_CHECKING:
    from collections.abc import Sequence

_SEEN = describe_values(np.arange(100, dtype=np.float32))
SCHEMA = Schema(
    "kind",
    (
        Feature("a", 0, 99, quantiles=_SEEN.quantiles, shares=_SEEN.shares),
        Feature("b", 0, 99, missing="imputed", quantiles=_SEEN.quantiles, shares=_SEEN.shares),
    ),
    ("no", "yes"),
)
VALUES = st.floats(-50, 150, width=32) | st.integers(-3, 102).map(float) | st.just(-0.0)
TRUTHS = st.sampled_from(["no", "yes", None, "", "no ", *"abcdefgh", "x" * 300, "x" * 299])
ROWS = st.lists(
    st.tuples(VALUES, VALUES | st.just(float("nan")), TRUTHS, st.integers(0, 1)), max_size=60
)


def count(rows: Sequence[tuple[float, float, str | None, int]]) -> MonitorCounts:
    """Monitor rows in one block."""
    features = np.array([row[:2] for row in rows], dtype=np.float32).reshape(-1, 2)
    label = np.array([row[3] for row in rows], dtype=np.int64)
    ones = np.ones((len(rows), 2), dtype=np.float32)
    outputs = Outputs(label, ones, ones)
    monitor = Monitor(SCHEMA, truth=True, drift=True)
    truth = pa.array([row[2] for row in rows], pa.string())
    parsed = Parsed(features, None, ())
    monitor.add(parsed, outputs, out_of_range=monitor.count(features), truth=truth)
    return monitor.counts()


@given(
    rows=ROWS,
    cuts=st.lists(st.integers(0, 60), max_size=4),
    cells=st.integers(1, 64),
    random=st.randoms(use_true_random=False),
)
def test_counts_of_parts_merge_to_those_of_the_whole(
    rows: list[tuple[float, float, str | None, int]],
    cuts: list[int],
    cells: int,
    random: np.random.Generator,
) -> None:
    """Ranges, accuracy and drift: the same bits, for any parts, order and grouping."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("runtime.monitoring.drift._MAX_CELLS", cells)
        patch.setattr("runtime.monitoring.drift._MIN_CELLS", 1)
        bounds = [0, *sorted(min(cut, len(rows)) for cut in cuts), len(rows)]
        parts = [count(rows[start:end]) for start, end in pairwise(bounds)]
        whole = count(rows)
        random.shuffle(parts)
        parts = pickle.loads(pickle.dumps(parts))  # noqa: S301 - our own
        assert reduce(MonitorCounts.merge, parts) == whole
        assert reduce(lambda one, two: two.merge(one), parts) == whole
        restored = Monitor(SCHEMA, truth=True, drift=True)
        restored.restore(whole)
        assert restored.counts() == whole


@given(st.lists(VALUES, min_size=1, max_size=200), st.integers(1, 300))
def test_quantiles_are_within_their_error(values: list[float], cells: int) -> None:
    """A decile of the sketch is at or above the exact one, by no more than its error."""
    column = np.array(values, dtype=np.float32)
    sketch = QuantileSketch(cells).add(column)
    assert len(sketch.counts) // 8 <= cells
    exact = np.array(describe_values(column).quantiles)
    found = np.array(sketch.deciles())
    if sketch.error == 0:
        assert found.tobytes() == exact.tobytes()
    normal = (np.abs(exact) > 1e-30) & np.isfinite(found)
    assert (found[normal] >= exact[normal]).all()
    if sketch.shift <= 20:
        assert (found - exact <= sketch.error * np.abs(exact))[normal].all()
