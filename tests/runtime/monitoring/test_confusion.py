from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.monitoring.accuracy import class_scores, confusion_matrix, wilson_interval


def test_wilson_interval() -> None:
    """Intervals match a textbook's example, and exist for proportions of 0 and 1."""
    found = wilson_interval(81, 263)
    assert (round(found.low, 4), round(found.high, 4)) == (0.2553, 0.3662)
    assert wilson_interval(0, 10).low == 0.0
    assert 0.25 < wilson_interval(0, 10).high < 0.31
    assert wilson_interval(10, 10).high == pytest.approx(1.0)


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2)), min_size=1, max_size=60))
def test_scores_are_those_of_a_plain_count(pairs: list[tuple[int, int]]) -> None:
    """Confusion matrix, precision, recall and F1 against loops over the rows."""
    truth = np.array([true for true, _ in pairs])
    answers = np.array([answer for _, answer in pairs])
    counts = confusion_matrix(truth, answers, 3)
    for at, score in enumerate(class_scores(counts, ("a", "b", "c"))):
        hits = sum(true == answer == at for true, answer in pairs)
        of_class = sum(true == at for true, _ in pairs)
        answered = sum(answer == at for _, answer in pairs)
        assert score.rows == of_class
        for found, part, whole in (
            (score.precision, hits, answered),
            (score.recall, hits, of_class),
            (score.f1, 2 * hits, of_class + answered),
        ):
            assert found == (pytest.approx(part / whole) if whole else None)
