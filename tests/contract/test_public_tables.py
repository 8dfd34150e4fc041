"""The benchmark on public tables judges fairly; its results decide what the defaults are."""

from __future__ import annotations

import csv
import math
from collections import Counter
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from tabular import summary
from tabular.cache import Cache, Key, Result, identity_of
from tabular.catalogue import LEFT_OUT, TABLES
from tabular.ours import fit
from tabular.targets import TREES, targets
from tabular.worker import Job, Prediction, score

if TYPE_CHECKING:
    from pathlib import Path


def test_tables_are_divided_by_their_names() -> None:
    """Both halves have 25 tables or more, and a table's name alone decides, here for ever."""
    halves = Counter(table.half for table in TABLES)
    assert min(halves["dev"], halves["result"]) >= 25
    assert len({table.name for table in TABLES}) == len(TABLES)
    assert {table.name: table.half for table in TABLES if table.name in {"letter", "magic"}} == {
        "letter": "dev",
        "magic": "result",
    }
    assert not {name for names in LEFT_OUT for name in names.split(", ")} & {
        table.name for table in TABLES
    }


@pytest.mark.parametrize(
    ("differences", "expected"),
    [
        pytest.param([0.006, 0.006, 0.006], 1, id="more than half a point"),
        pytest.param([0.005, 0.005, 0.005], 0, id="half a point"),
        pytest.param([-0.02, -0.03, -0.04], -1, id="lost"),
        pytest.param([0.09, -0.07, 0.01], 0, id="within the standard error"),
        pytest.param([-0.006], -1, id="one seed"),
    ],
)
def test_ties(differences: list[float], expected: int) -> None:
    """A difference is one if it is above half a point and above its standard error."""
    assert summary.outcome(differences) == expected


def test_ranks_are_shared() -> None:
    """Equal accuracies share the mean of their ranks."""
    assert summary.ranks([0.9, 0.8, 0.9, 0.7]) == [1.5, 3.0, 1.5, 4.0]


def test_a_failed_fit_takes_its_table_from_the_means() -> None:
    """Means compare contenders on the same tables, and the failure is counted."""
    good, better = Result(0.5, 0.7, 0, 1.0, 1.0), Result(0.9, 0.1, 0, 1.0, 1.0)
    results = {
        "one": {"a": [good, good], "b": [better, better]},
        "two": {"a": [better, better], "b": [better, Result(error="over 5 s")]},
    }
    lines = summary.standings(results, ["a", "b"]).splitlines()
    assert lines[2].startswith("| a | 0.5000 | 2.00 | 0.7000 ")
    assert lines[3].startswith("| b | 0.9000 | 1.00 | 0.1000 ")
    assert lines[3].endswith("| 1 |")
    assert summary.duel(results, "a", "b").differences == {"one": pytest.approx(-0.4)}


def test_targets() -> None:
    """The default is held against scikit-learn's models, another preset against the best trees."""

    def seeds(accuracy: float, log_loss: float) -> list[Result]:
        return [Result(accuracy, log_loss, 0, 1.0, 1.0)] * 2

    results = {
        "one": {
            "default": seeds(0.8, 0.4),
            "accurate": seeds(0.92, 0.2),
            "MLPClassifier": seeds(0.79, 0.4),
            "logistic regression": seeds(0.83, 0.4),
            "XGBoost": seeds(0.9, 0.3),
            "LightGBM": seeds(0.93, 0.3),
            "CatBoost": seeds(0.9, 0.1),
        }
    }
    ours, peers = ["default", "accurate"], ["MLPClassifier", "logistic regression", *TREES]
    lines = targets(results, ours, peers).splitlines()[2:]
    measured = [line.split(" | ")[1] for line in lines]
    assert measured == ["100.00", "1.00", "-3.00", "-1.00", "100.00"]
    assert targets(results, ["default"], ["XGBoost"]) == ""


def test_refused_rows_are_wrong() -> None:
    """A row without a prediction is a wrong label, and a guess in the log loss."""
    told = np.array([[0.5, 0.5], [1.0, 0.0]])
    scores = score(Prediction(told, np.array([0, 0]), refused=2, wall=1.0, cpu=1.0))
    assert scores["accuracy"] == 0.5
    assert scores["log_loss"] == pytest.approx(3 * math.log(2) / 4)


def test_results_are_kept(tmp_path: Path) -> None:
    """A result is found again by whoever opens the file next, under the same key alone."""
    key = Key("letter", 0, "default", identity_of("benchmarks/tabular/catalogue.py"))
    Cache(tmp_path / "results.csv").add(key, Result(0.9, 0.2, 0, 1.0, 1.0))
    cache = Cache(tmp_path / "results.csv", tmp_path / "peers.csv", ["TabM"])
    assert cache.find(key) == Result(0.9, 0.2, 0, 1.0, 1.0)
    assert cache.find(Key("letter", 0, "default", "other sources")) is None
    other = Key("letter", 1, "TabM", "")
    cache.add(other, Result(0.8, 0.25, 3, 1.0, 1.0))
    assert Cache(tmp_path / "peers.csv").find(other) == Result(0.8, 0.25, 3, 1.0, 1.0)


def test_failures_are_tried_again(tmp_path: Path) -> None:
    """A fit that ran out of time is reported, and may have more of it in the next run."""
    key = Key("letter", 0, "TabM", "")
    cache = Cache(tmp_path / "results.csv")
    cache.add(key, Result(error="over 5 s"))
    assert cache.find(key) is not None
    assert Cache(tmp_path / "results.csv").find(key) is None


def test_a_preset_is_fitted_to_files(tmp_path: Path) -> None:
    """Test rows of unknown categories are scored, those that are refused are counted."""
    numbers = np.random.default_rng(1).normal(size=300)
    train: list[list[Any]] = [[number, "ab"[at % 2]] for at, number in enumerate(numbers)]
    test: list[list[Any]] = [*train[:100], [0.5, "unknown"], ["", "a"]]
    for name, rows in (("train", train), ("test", test)):
        with (tmp_path / f"{name}.csv").open("w", newline="", encoding="utf-8") as stream:
            writer = csv.writer(stream)
            writer.writerow(["x", "kind", "label"])
            writer.writerows([*row, label_of(row)] for row in rows)
    paths = str(tmp_path / "train.csv"), str(tmp_path / "test.csv")
    prediction = fit(Job(*paths, "label", 0, "default"))
    assert prediction.probabilities.shape == (101, 2)
    assert prediction.refused == 1  # the training rows had no gap
    assert score(prediction)["accuracy"] > 0.9


def label_of(row: list[Any]) -> str:
    """The class of a row, which both columns decide."""
    return "high" if row[0] and (row[0] > 0) == (row[1] != "b") else "low"
