"""Curves by hand and by their invariants."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainer.evaluation.curves import precision_recall_curve, roc_curve


def test_the_curves_of_five_rows_by_hand() -> None:
    """Two rows share a score, so both are above a threshold or neither is."""
    of_class = np.array([True, False, True, False, False])
    scores = np.array([0.9, 0.7, 0.7, 0.4, 0.1])
    roc = roc_curve(of_class, scores)
    assert roc is not None
    assert roc.x.tolist() == pytest.approx([0, 0, 1 / 3, 2 / 3, 1])
    assert roc.y.tolist() == [0, 0.5, 1, 1, 1]
    assert [roc.area, roc.baseline] == pytest.approx([1 / 6 * 1.5 + 2 / 3, 0.5])
    precision = precision_recall_curve(of_class, scores)
    assert precision is not None
    assert precision.x.tolist() == [0.5, 1, 1, 1]
    assert precision.y.tolist() == pytest.approx([1, 2 / 3, 0.5, 0.4])
    assert [precision.area, precision.baseline] == pytest.approx([0.5 + 0.5 * 2 / 3, 0.4])


@pytest.mark.parametrize("curve", [roc_curve, precision_recall_curve])
def test_a_class_without_rows_has_no_curve(curve: object) -> None:
    """Nor has a ROC curve one with all rows, as there are no false positives."""
    assert callable(curve)
    assert curve(np.zeros(3, bool), np.ones(3)) is None
    assert curve(np.zeros(0, bool), np.ones(0)) is None
    assert roc_curve(np.ones(3, bool), np.ones(3)) is None


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 4)), min_size=2, max_size=30))
def test_curves_stay_in_the_unit_square(rows: list[tuple[bool, int]]) -> None:
    """They ascend to the last point, at which all rows are predicted."""
    of_class, scores = np.array([a for a, _ in rows]), np.array([b / 4 for _, b in rows])
    for make in (roc_curve, precision_recall_curve):
        curve = make(of_class, scores)
        if curve is None:
            continue
        assert (np.diff(curve.x) >= 0).all()
        assert (curve.y >= 0).all()
        assert (curve.y <= 1).all()
        assert curve.x[-1] == 1
        assert 0 <= curve.area <= 1 + 1e-12
