"""Benchmarks still run with the code that they measure."""

from __future__ import annotations

from dataclasses import replace

import train


def test_training_is_raced() -> None:
    """Each contender learns from rows, of the tutorial's network and of the default's."""
    products = train.race(train.Case(64, 32, 1, 1, 1), 1, "cpu")
    assert tuple(products) == train.CONTENDERS
    configuration, dataset = train.default_fit(400)
    case = train.Case(400, configuration.batch_size, 2, 1, 1)
    ensembles = train.race_ensembles(case, replace(configuration, epochs=2), dataset, 1, "cpu")
    assert train.ARITHMETIC in ensembles
    for (rate,) in (*products.values(), *ensembles.values()):
        assert rate.wall > 0
