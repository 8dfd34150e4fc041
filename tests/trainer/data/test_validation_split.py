from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from runtime.errors import DataError
from trainer.config import Configuration, configure
from trainer.data.preprocessing import compute_class_weights
from trainer.data.products import synthetic_products
from trainer.data.splits import split_validation
from trainer.fit import fit

if TYPE_CHECKING:
    from trainer.checkpoint.state import Epoch


@given(
    labels=st.lists(st.integers(0, 3), min_size=1, max_size=200),
    share=st.floats(0.01, 0.99),
    seed=st.integers(0, 2**40),
)
def test_every_class_gives_its_share(labels: list[int], share: float, seed: int) -> None:
    """The parts are a partition with the rounded share of each class, the same for a seed."""
    tensor = torch.tensor(labels)
    try:
        parts = split_validation(tensor, share, seed)
    except DataError:
        taken = [round(labels.count(label) * share) for label in range(4)]
        assert sum(taken) in {0, len(labels)}
        return
    assert sorted(parts.train.tolist() + parts.validation.tolist()) == list(range(len(labels)))
    for part in (parts.train, parts.validation):
        assert part.tolist() == sorted(part.tolist())
    for label in range(4):
        taken_of = int((tensor[parts.validation] == label).sum())
        assert taken_of == round(labels.count(label) * share)
    assert torch.equal(split_validation(tensor, share, seed).validation, parts.validation)


def test_a_share_that_leaves_no_row_is_refused() -> None:
    """For validation, or for training."""
    with pytest.raises(
        DataError, match=r"--validation 0\.01 of 10 training rows.*no row for validation"
    ):
        split_validation(torch.zeros(10, dtype=torch.int64), 0.01, 1)
    with pytest.raises(DataError, match="no row for training"):
        split_validation(torch.zeros(10, dtype=torch.int64), 0.99, 1)


def test_the_best_epoch_is_kept_and_patience_stops_early() -> None:
    """The model is from the epoch with the lowest validation loss, ``patience`` before the end.

    The learning rate is so high that the loss fluctuates.
    """
    dataset = synthetic_products(2, train_rows=300)
    configuration = configure(learning_rate=3.0, epochs=60, validation=0.3, patience=4, seed=2)
    epochs: list[Epoch] = []
    fitted = fit(dataset, configuration, on_epoch_end=epochs.append)
    losses = [epoch.validation.loss for epoch in epochs if epoch.validation]
    best = losses.index(min(losses))
    assert len(epochs) == fitted.epochs == best + 1 + 4 < 60
    assert fitted.last.index == best
    assert [epoch.wait_count for epoch in epochs[best:]] == [0, 1, 2, 3, 4]
    shorter = Configuration(**{**vars(configuration), "epochs": best + 1, "patience": None})
    again = fit(dataset, shorter)
    for ours, theirs in zip(fitted.model.parameters(), again.model.parameters(), strict=True):
        assert torch.equal(ours, theirs)


def test_validation_rows_do_not_influence_the_weights() -> None:
    """Whatever their features are, the weights after an epoch are the same."""
    dataset = synthetic_products(2, train_rows=300)
    configuration = configure(epochs=1, validation=0.3)
    held = split_validation(dataset.rows.train_labels, 0.3, configuration.seed).validation
    before = fit(dataset, configuration).model
    dataset.rows.train_features[held] *= 5
    after = fit(dataset, configuration).model
    for ours, theirs in zip(before.parameters(), after.parameters(), strict=True):
        assert torch.equal(ours, theirs)


def test_balanced_class_weights() -> None:
    """``rows / (classes * rows of the class)``; the mean weight of a row is 1."""
    labels = torch.tensor([0, 0, 0, 1, 3, 3])
    weights = compute_class_weights(labels, 5, "balanced")
    assert weights is not None
    assert weights.tolist() == pytest.approx([0.4, 1.2, 0, 0.6, 0])
    assert compute_class_weights(labels, 5, "none") is None


def test_class_weights_change_the_model() -> None:
    """A rare class is predicted more often when all classes weigh the same."""
    dataset = synthetic_products(3, train_rows=800)
    keep = (dataset.rows.train_labels == 0) | (torch.arange(800) % 20 == 0)
    rows = {
        name: part[keep] if name.startswith("train") else part
        for name, part in dataset.rows.by_name().items()
    }
    rare = type(dataset)(dataset.schema, type(dataset.rows)(**rows))
    found = []
    for kind in ("none", "balanced"):
        model = fit(rare, configure(epochs=3, class_weights=kind)).model
        with torch.no_grad():
            positive = model(dataset.rows.test_features).argmax(dim=1) == 1
        found.append(int((positive & (dataset.rows.test_labels == 1)).sum()))
    assert found[1] > found[0]
