from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.custom_scalar.layout_pb2 import Layout

from runtime.errors import UsageError
from trainer.config import configure
from trainer.data.products import synthetic_products
from trainer.fit import fit
from trainer.loggers import tensorboard
from trainer.loggers.collection import open_loggers

if TYPE_CHECKING:
    from trainer.checkpoint.state import Epoch
    from trainer.config import Configuration

Curve = list[tuple[int, float]]


def read_curves(logdir: Path) -> dict[str, Curve]:
    """All scalars of a folder, by TensorBoard's own loader."""
    reader = EventAccumulator(str(logdir), size_guidance={"scalars": 0}).Reload()
    return {
        tag: [(event.step, event.value) for event in reader.Scalars(tag)]
        for tag in reader.Tags()["scalars"]
    }


def float32(value: float) -> float:
    """An event file keeps a scalar as float32."""
    return float(np.float32(value))


def record_fit(folder: Path, configuration: Configuration) -> list[Epoch]:
    """Fit and log into a folder."""
    epochs: list[Epoch] = []
    with open_loggers(folder, folder / "tb", {}) as loggers:

        def watch(epoch: Epoch) -> None:
            loggers.log_epoch(epoch)
            epochs.append(epoch)

        fit(synthetic_products(1, train_rows=70), configuration, on_epoch_end=watch)
    return epochs


def test_tensorboard_reads_the_tutorials_curves(tmp_path: Path) -> None:
    """Loss/train counts batches over all epochs, Accuracy/test counts epochs, both from 0."""
    epochs = record_fit(tmp_path, configure(epochs=3))
    losses = [loss for epoch in epochs for loss in epoch.losses]
    assert len(losses) == 9
    assert read_curves(tmp_path / "tb") == {
        "Loss/train": [(step, float32(loss)) for step, loss in enumerate(losses)],
        "Accuracy/test": [(epoch.index, float32(epoch.accuracy)) for epoch in epochs],
        "Loss/epoch": [(epoch.index, float32(epoch.loss)) for epoch in epochs],
        "Loss/test": [(epoch.index, float32(epoch.test_loss)) for epoch in epochs],
        "Accuracy/train": [
            (epoch.index, float32(epoch.train.accuracy)) for epoch in epochs if epoch.train
        ],
        "LearningRate/train": [(epoch.index, float32(epoch.learning_rate)) for epoch in epochs],
    }


def test_training_and_test_share_a_chart(tmp_path: Path) -> None:
    """In the Custom Scalars tab: loss and accuracy, with the curves that there are."""
    record_fit(tmp_path, configure(epochs=3, validation=0.3))
    reader = EventAccumulator(str(tmp_path / "tb"), size_guidance={"tensors": 0}).Reload()
    (event,) = reader.Tensors("custom_scalars__config__")
    (category,) = Layout.FromString(event.tensor_proto.string_val[0]).category
    curves = set(read_curves(tmp_path / "tb"))
    found = {
        chart.title: {tag for tag in curves for one in chart.multiline.tag if re.search(one, tag)}
        for chart in category.chart
    }
    assert found == {
        "Loss": {"Loss/epoch", "Loss/test", "Loss/validation"},
        "Accuracy": {"Accuracy/train", "Accuracy/test", "Accuracy/validation"},
    }


@pytest.mark.parametrize(("epochs", "patience"), [(100, None), (4000, 9)])
def test_the_training_accuracy_is_a_curve(epochs: int, patience: int | None) -> None:
    """A few epochs from the first on, also where the fit may end at any time."""
    seen: list[int] = []
    options = configure(
        epochs=epochs, validation=0.3, patience=patience, learning_rate=0.5, batch_size=64
    )

    def watch(epoch: Epoch) -> None:
        if epoch.train:
            seen.append(epoch.index)
            assert 0 <= epoch.train.accuracy <= 1

    fit(synthetic_products(1, train_rows=70), options, on_epoch_end=watch)
    assert 3 <= len(seen) <= 50
    assert seen[0] == 0


def test_a_validation_split_has_its_own_curves(tmp_path: Path) -> None:
    """Its loss and accuracy, each epoch."""
    epochs = record_fit(tmp_path, configure(epochs=3, validation=0.3))
    curves = read_curves(tmp_path / "tb")
    parts = [epoch.validation for epoch in epochs if epoch.validation]
    assert curves["Loss/validation"] == [
        (index, float32(part.loss)) for index, part in enumerate(parts)
    ]
    assert curves["Accuracy/validation"] == [
        (index, float32(part.accuracy)) for index, part in enumerate(parts)
    ]


def test_every_epoch_is_a_line_of_json(tmp_path: Path) -> None:
    """Epochs count from 1; the numbers equal those of the callback, to the last bit."""
    epochs = record_fit(tmp_path, configure(epochs=3, validation=0.3, patience=9))
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert [line["epoch"] for line in lines] == [1, 2, 3]
    assert [line["steps"] for line in lines] == [2, 4, 6]
    assert [line["loss"] for line in lines] == [epoch.loss for epoch in epochs]
    assert [line["best_epoch"] for line in lines] == [epoch.best + 1 for epoch in epochs]
    assert set(lines[0]) == {
        *("epoch", "steps", "learning_rate", "loss", "test_loss", "accuracy"),
        *("validation_loss", "validation_accuracy", "best_epoch", "lowest_test_loss_epoch"),
    }


def test_epochs_are_flushed_at_an_interval(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Once the interval has passed, each epoch is in the file as soon as it ends."""
    monkeypatch.setattr(tensorboard, "_FLUSH_S", 0.0)
    seen = []
    with open_loggers(tmp_path, tmp_path / "tb", {}) as loggers:

        def watch(epoch: Epoch) -> None:
            loggers.log_epoch(epoch)
            curves = read_curves(tmp_path / "tb")
            seen.append((len(curves["Loss/train"]), len(curves["Accuracy/test"])))

        fit(synthetic_products(1, train_rows=70), configure(epochs=3), on_epoch_end=watch)
    assert seen == [(3, 1), (6, 2), (9, 3)]


def test_an_unwritable_logdir_is_a_usage_error(tmp_path: Path) -> None:
    """The message names the file; one that cannot be made is not one that is missing."""
    (tmp_path / "file").write_text("in the way")
    for folder in (tmp_path / "file" / "tb", Path("/proc/self/fd")):
        with (
            pytest.raises(UsageError, match=rf"cannot write {folder}"),
            open_loggers(tmp_path, folder, {}),
        ):
            pass
