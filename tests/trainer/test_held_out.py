from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from runtime.errors import DataError
from trainer.balance import weigh_classes
from trainer.config import Configuration, configure
from trainer.data import synthetic_products
from trainer.fit import fit
from trainer.held_out import hold_out

if TYPE_CHECKING:
    from trainer.epoch import Epoch


@given(
    labels=st.lists(st.integers(0, 3), min_size=1, max_size=200),
    share=st.floats(0.01, 0.99),
    seed=st.integers(0, 2**40),
)
def test_every_class_gives_its_share(labels: list[int], share: float, seed: int) -> None:
    """The parts are whole and apart, of each class the rounded share, the same for a seed."""
    tensor = torch.tensor(labels)
    try:
        parts = hold_out(tensor, share, seed)
    except DataError:
        taken = [round(labels.count(label) * share) for label in range(4)]
        assert sum(taken) in {0, len(labels)}
        return
    assert sorted(parts.learned.tolist() + parts.held.tolist()) == list(range(len(labels)))
    for part in (parts.learned, parts.held):
        assert part.tolist() == sorted(part.tolist())
    for label in range(4):
        taken_of = int((tensor[parts.held] == label).sum())
        assert taken_of == round(labels.count(label) * share)
    assert torch.equal(hold_out(tensor, share, seed).held, parts.held)


def test_a_share_that_leaves_no_row_is_refused() -> None:
    """To judge by, or to learn from."""
    with pytest.raises(DataError, match=r"--validation 0\.01 of 10 training rows.*judge by"):
        hold_out(torch.zeros(10, dtype=torch.int64), 0.01, 1)
    with pytest.raises(DataError, match="learn by"):
        hold_out(torch.zeros(10, dtype=torch.int64), 0.99, 1)


def test_the_best_epoch_is_kept_and_patience_ends_the_fit() -> None:
    """The model is that of the epoch with the least validation loss; so many epochs after it end.

    The rate is so high that the loss jumps about.
    """
    dataset = synthetic_products(2, train_rows=300)
    configuration = configure(learning_rate=3.0, epochs=60, validation=0.3, patience=4, seed=2)
    epochs: list[Epoch] = []
    fitted = fit(dataset, configuration, watch=epochs.append)
    losses = [epoch.validation.loss for epoch in epochs if epoch.validation]
    best = losses.index(min(losses))
    assert len(epochs) == fitted.epochs == best + 1 + 4 < 60
    assert fitted.last.index == best
    assert [epoch.waited for epoch in epochs[best:]] == [0, 1, 2, 3, 4]
    shorter = Configuration(**{**vars(configuration), "epochs": best + 1, "patience": None})
    again = fit(dataset, shorter)
    for ours, theirs in zip(fitted.model.parameters(), again.model.parameters(), strict=True):
        assert torch.equal(ours, theirs)


def test_rows_held_out_teach_nothing() -> None:
    """Their labels and features may be anything: the weights of an epoch are the same."""
    dataset = synthetic_products(2, train_rows=300)
    configuration = configure(epochs=1, validation=0.3)
    held = hold_out(dataset.rows.train_labels, 0.3, configuration.seed).held
    before = fit(dataset, configuration).model
    dataset.rows.train_features[held] *= 5
    after = fit(dataset, configuration).model
    for ours, theirs in zip(before.parameters(), after.parameters(), strict=True):
        assert torch.equal(ours, theirs)


def test_balanced_classes_count_the_same() -> None:
    """Rows over classes times rows of the class; the mean weight of a row is 1."""
    labels = torch.tensor([0, 0, 0, 1, 3, 3])
    weights = weigh_classes(labels, 5, "balanced")
    assert weights is not None
    assert weights.tolist() == pytest.approx([0.4, 1.2, 0, 0.6, 0])
    assert weigh_classes(labels, 5, "none") is None


def test_weights_of_classes_change_what_is_learned() -> None:
    """A rare class is found more often when it counts as much as the others."""
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
