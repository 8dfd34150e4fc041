from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st

from trainer.data import synthetic_products
from trainer.judging import judge
from trainer.model import SimpleNet
from trainer.placement import Placement, place_dataset, place_rows
from trainer.preparation import Part

GIB = 2**30


def test_what_fits_lies_on_the_device() -> None:
    """With room to spare for libraries and buffers; nothing is said of it."""
    assert place_rows(7 * GIB, GIB, 10 * GIB) == Placement(training=True, judging=True, reason="")
    assert place_dataset(synthetic_products(1), "cpu") == Placement()


def test_what_does_not_fit_streams_and_the_line_says_how_much() -> None:
    """The rows to learn from first; those to judge by only when they alone are too many."""
    place = place_rows(100 * GIB, GIB, 10 * GIB)
    assert (place.training, place.judging) == (False, True)
    assert place.reason == "100 GiB of rows stream through it, 10 GiB of its memory are free"
    place = place_rows(100 * GIB, 5 * GIB, 10 * GIB)
    assert (place.training, place.judging) == (False, False)
    assert place.reason.startswith("105 GiB of rows stream")


sizes = st.integers(0, 2**44)


@given(sizes, sizes, sizes)
def test_what_lies_on_the_device_fits(training: int, judging: int, free: int) -> None:
    """Never more than four fifths of the free memory; and streaming is always told."""
    place = place_rows(training, judging, free)
    resident = training * place.training + judging * place.judging
    assert resident <= 0.8 * free
    assert bool(place.reason) == (not place.training)
    assert place.judging or not place.training


def test_rows_are_judged_block_by_block() -> None:
    """More rows than a block: the loss and accuracy of all of them."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        model = SimpleNet(2, 2, (4,))
    rows = synthetic_products(1, train_rows=1, test_rows=20_000).rows
    found = judge(model, Part(rows.test_features, rows.test_labels))
    with torch.inference_mode():
        logits = model(rows.test_features)
        loss = torch.nn.functional.cross_entropy(logits, rows.test_labels)
        hits = (logits.argmax(dim=1) == rows.test_labels).float().mean()
    torch.testing.assert_close(found.loss, loss.item())
    torch.testing.assert_close(found.accuracy, hits.item())
