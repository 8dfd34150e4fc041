"""What the presets are to reach, beside what they did."""

from __future__ import annotations

from typing import TYPE_CHECKING

import measure
from tabular.summary import Results, duel, mean_accuracy, mean_log_loss

if TYPE_CHECKING:
    from collections.abc import Sequence

DEFAULT = "default"
TREES = ("XGBoost", "LightGBM", "CatBoost")
Row = tuple[str, float, str]  # what, measured, target


def targets(results: Results, presets: Sequence[str], peers: Sequence[str]) -> str:
    """Format the targets of the presets that were fitted, as far as the peers were.

    Args:
        results: of all contenders.
        presets: ours among them.
        peers: the others.

    Returns:
        The table; empty where nothing can be said.
    """
    rows: list[Row] = []
    for preset in presets:
        if preset == DEFAULT:
            rows += against_mlp(results, peers) + against_logistic_regression(results, peers)
        elif set(TREES) <= set(peers):
            rows += against_trees(results, preset)
    return measure.targets(rows) if rows else ""


def against_mlp(results: Results, peers: Sequence[str]) -> list[Row]:
    """The default against scikit-learn's network."""
    if "MLPClassifier" not in peers:
        return []
    found = duel(results, DEFAULT, "MLPClassifier")
    share = 100 * (found.won + found.tied) / (found.won + found.tied + found.lost)
    return [
        ("default: tables won or tied with MLPClassifier, %", share, "≥ 85"),
        ("default: mean above MLPClassifier, points", 100 * found.mean, "≥ 1"),
    ]


def against_logistic_regression(results: Results, peers: Sequence[str]) -> list[Row]:
    """The default where logistic regression is furthest above it."""
    if "logistic regression" not in peers:
        return []
    worst = duel(results, DEFAULT, "logistic regression").worst[1]
    return [("default: worst table against logistic regression, points", 100 * worst, "≥ -1")]


def against_trees(results: Results, preset: str) -> list[Row]:
    """Another preset against the boosted trees that are best on average."""
    accuracy = max(mean_accuracy(results, tree) for tree in TREES)
    log_loss = min(mean_log_loss(results, tree) for tree in TREES)
    above = 100 * (mean_accuracy(results, preset) - accuracy)
    more = mean_log_loss(results, preset) - log_loss
    return [
        (f"{preset}: mean above the best boosted trees, points", above, "≥ -0.5"),
        (f"{preset}: log loss above the best boosted trees, thousandths", 1000 * more, "< 0"),
    ]
