from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st

from trainer.data.products import synthetic_products
from trainer.data.training_data import EvaluationRows, Placement, place_dataset, place_rows
from trainer.evaluation.metrics import evaluate
from trainer.model import SimpleNet

GIB = 2**30


def test_rows_that_fit_are_resident() -> None:
    """Some memory is left for libraries and buffers; no reason is given."""
    assert place_rows(7 * GIB, GIB, 10 * GIB) == Placement(
        training=True, evaluation=True, reason=""
    )
    assert place_dataset(synthetic_products(1), "cpu") == Placement()


def test_rows_that_do_not_fit_are_streamed_and_the_reason_gives_sizes() -> None:
    """Training rows first; test rows only when they alone are too large."""
    place = place_rows(100 * GIB, GIB, 10 * GIB)
    assert (place.training, place.evaluation) == (False, True)
    assert place.reason == "streaming 100 GiB of rows, 10 GiB of its memory are free"
    place = place_rows(100 * GIB, 5 * GIB, 10 * GIB)
    assert (place.training, place.evaluation) == (False, False)
    assert place.reason.startswith("streaming 105 GiB of rows")


sizes = st.integers(0, 2**44)


@given(sizes, sizes, sizes)
def test_resident_rows_fit(training: int, evaluation: int, free: int) -> None:
    """Never more than four fifths of the free memory; streaming always has a reason."""
    place = place_rows(training, evaluation, free)
    resident = training * place.training + evaluation * place.evaluation
    assert resident <= 0.8 * free
    assert bool(place.reason) == (not place.training)
    assert place.evaluation or not place.training


def test_rows_are_evaluated_block_by_block() -> None:
    """More rows than a block: the loss and accuracy of all of them."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        model = SimpleNet(2, 2, (4,))
    rows = synthetic_products(1, train_rows=1, test_rows=20_000).rows
    found = evaluate(model, EvaluationRows(rows.test_features, rows.test_labels))
    with torch.inference_mode():
        logits = model(rows.test_features)
        loss = torch.nn.functional.cross_entropy(logits, rows.test_labels)
        hits = (logits.argmax(dim=1) == rows.test_labels).float().mean()
    torch.testing.assert_close(found.loss, loss.item())
    torch.testing.assert_close(found.accuracy, hits.item())
