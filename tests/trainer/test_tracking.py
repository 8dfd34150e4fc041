from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from runtime.errors import UsageError
from trainer.config import configure
from trainer.data import synthetic_products
from trainer.fit import fit
from trainer.tracking import tensorboard

if TYPE_CHECKING:
    from pathlib import Path

    from trainer.epoch import Epoch

Curve = list[tuple[int, float]]


def read_curves(logdir: Path) -> dict[str, Curve]:
    """All scalars of a folder, by TensorBoard's own reader."""
    reader = EventAccumulator(str(logdir), size_guidance={"scalars": 0}).Reload()
    return {
        tag: [(event.step, event.value) for event in reader.Scalars(tag)]
        for tag in reader.Tags()["scalars"]
    }


def float32(value: float) -> float:
    """An event file keeps a scalar as float32."""
    return float(np.float32(value))


def test_tensorboard_reads_the_tutorials_curves(tmp_path: Path) -> None:
    """Loss/train counts batches over all epochs, Accuracy/test counts epochs, both from 0."""
    epochs: list[Epoch] = []
    with tensorboard(tmp_path / "tb") as track:

        def watch(epoch: Epoch) -> None:
            track(epoch)
            epochs.append(epoch)

        fit(synthetic_products(1, train_rows=70), configure(epochs=3), watch=watch)
    losses = [loss for epoch in epochs for loss in epoch.losses]
    assert len(losses) == 9
    assert read_curves(tmp_path / "tb") == {
        "Loss/train": [(step, float32(loss)) for step, loss in enumerate(losses)],
        "Accuracy/test": [(epoch.index, float32(epoch.accuracy)) for epoch in epochs],
    }


def test_a_finished_epoch_is_there_to_be_seen(tmp_path: Path) -> None:
    """A folder that is watched live shows each epoch as soon as it has ended."""
    seen = []
    with tensorboard(tmp_path) as track:

        def watch(epoch: Epoch) -> None:
            track(epoch)
            curves = read_curves(tmp_path)
            seen.append((len(curves["Loss/train"]), len(curves["Accuracy/test"])))

        fit(synthetic_products(1, train_rows=70), configure(epochs=3), watch=watch)
    assert seen == [(3, 1), (6, 2), (9, 3)]


def test_a_logdir_that_cannot_be_is_a_usage_error(tmp_path: Path) -> None:
    """The message names the folder."""
    (tmp_path / "file").write_text("in the way")
    with (
        pytest.raises(UsageError, match=r"TensorBoard's files into .*file/tb"),
        tensorboard(tmp_path / "file" / "tb"),
    ):
        pass
