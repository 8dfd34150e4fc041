"""The metrics by hand, by definition and by their invariants."""

from __future__ import annotations

import math
from itertools import product

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainer.evaluation import metrics


def test_calibration_by_hand() -> None:
    """Four rows in two bins: confidence 0.9 and half correct, 0.6 and all correct."""
    probabilities = np.array([[0.9, 0.1], [0.1, 0.9], [0.6, 0.4], [0.4, 0.6]])
    truth = np.array([0, 0, 0, 1])
    bins = metrics.reliability(truth, probabilities)
    held = {round(each.high, 1): (each.rows, each.accuracy) for each in bins if each.rows}
    assert held == {0.9: (2, 0.5), 0.6: (2, 1.0)}
    assert metrics.calibration_error(bins) == pytest.approx((2 * 0.4 + 2 * 0.4) / 4)
    expected = -(math.log(0.9) + math.log(0.1) + 2 * math.log(0.6)) / 4
    assert metrics.log_loss(truth, probabilities) == pytest.approx(expected)


def test_the_brier_score_by_hand() -> None:
    """Of two classes the squared error of the second; of more Brier's own sum over the classes."""
    two = np.array([[0.9, 0.1], [0.1, 0.9], [0.6, 0.4], [0.4, 0.6]])
    assert metrics.brier(np.array([0, 0, 0, 1]), two) == pytest.approx(
        (0.01 + 0.81 + 0.16 + 0.16) / 4
    )
    three = np.array([[0.5, 0.3, 0.2]])
    assert metrics.brier(np.array([0]), three) == pytest.approx(0.25 + 0.09 + 0.04)


def test_guessing_the_shares_of_the_classes_is_the_baseline() -> None:
    """It is p(1 - p) where the test rows have the shares of training."""
    evaluation = metrics.compute_evaluation(
        np.array([0, 0, 0, 1]), np.full((4, 2), 0.5), ("a", "b"), shares=np.array([0.75, 0.25])
    )
    assert (evaluation.brier, evaluation.brier_baseline) == (0.25, 0.75 * 0.25)


@given(st.lists(st.floats(0.5, 1.0), min_size=1, max_size=50))
def test_every_row_is_in_one_bin(tops: list[float]) -> None:
    """The bins count all rows, each between its ends."""
    probabilities = np.array([[top, 1 - top] for top in tops])
    bins = metrics.reliability(np.zeros(len(tops), np.int64), probabilities)
    assert sum(each.rows for each in bins) == len(tops)
    for each in bins:
        if each.rows:
            assert each.low - 1e-9 <= each.confidence <= each.high + 1e-9


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 5)), min_size=1, max_size=30))
def test_the_area_is_the_probability_of_the_right_order(rows: list[tuple[bool, int]]) -> None:
    """Over all pairs of a row of the class and one that is not: larger counts 1, equal 1/2."""
    truth = np.array([int(of_class) for of_class, _ in rows])
    score = np.array([fifths / 5 for _, fifths in rows])
    ours = [at for of_class, at in rows if of_class]
    others = [at for of_class, at in rows if not of_class]
    area = metrics.roc_auc(truth, np.stack([1 - score, score], axis=1))
    if not ours or not others:
        assert math.isnan(area)
        return
    wins = [1.0 if a > b else 0.5 if a == b else 0.0 for a, b in product(ours, others)]
    assert area == pytest.approx(sum(wins) / len(wins))


def test_the_area_of_more_classes_is_the_mean() -> None:
    """Each class against the rest; one without rows has no area."""
    truth = np.array([0, 0, 1, 1])
    probabilities = np.array([[0.8, 0.2, 0.0], [0.3, 0.6, 0.1], [0.4, 0.5, 0.1], [0.1, 0.9, 0.0]])
    assert metrics.roc_auc(truth, probabilities) == pytest.approx((0.75 + 0.75) / 2)


def test_an_evaluation_by_hand() -> None:
    """Two of three rows are correct; a class without rows and predictions is left out."""
    truth = np.array([0, 0, 1])
    probabilities = np.array([[0.9, 0.1, 0.0], [0.2, 0.8, 0.0], [0.3, 0.7, 0.0]])
    evaluation = metrics.compute_evaluation(
        truth, probabilities, ("a", "b", "c"), shares=np.array([0.2, 0.8, 0.0])
    )
    assert (evaluation.rows, evaluation.accuracy.share, evaluation.baseline) == (3, 2 / 3, 1 / 3)
    assert evaluation.confusion == ((1, 1, 0), (0, 1, 0), (0, 0, 0))
    assert evaluation.macro_f1 == pytest.approx((2 / 3 + 2 / 3) / 2)
    assert evaluation.classes[2].f1 is None
    assert (
        msgspec.json.decode(msgspec.json.encode(evaluation), type=metrics.Evaluation) == evaluation
    )


def test_one_class_alone_has_no_area() -> None:
    """A metric without a value is null: JSON has no NaN."""
    evaluation = metrics.compute_evaluation(
        np.array([1, 1]), np.array([[0.4, 0.6]] * 2), ("a", "b"), shares=np.array([0.0, 1.0])
    )
    assert evaluation.roc_auc is None
    assert evaluation.baseline == 1.0
