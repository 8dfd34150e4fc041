from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.summary.writer.record_writer import RecordWriter

from runtime.errors import UsageError
from trainer.config import configure
from trainer.data import synthetic_products
from trainer.events import file_header, scalar_records
from trainer.fit import fit
from trainer.journals import open_journals

if TYPE_CHECKING:
    from pathlib import Path

    from trainer.config import Configuration
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


def record_fit(folder: Path, configuration: Configuration) -> list[Epoch]:
    """Fit with journals in a folder."""
    epochs: list[Epoch] = []
    with open_journals(folder, folder / "tb", {}) as journals:

        def watch(epoch: Epoch) -> None:
            journals.watch(epoch)
            epochs.append(epoch)

        fit(synthetic_products(1, train_rows=70), configuration, watch=watch)
    return epochs


def test_tensorboard_reads_the_tutorials_curves(tmp_path: Path) -> None:
    """Loss/train counts batches over all epochs, Accuracy/test counts epochs, both from 0."""
    epochs = record_fit(tmp_path, configure(epochs=3))
    losses = [loss for epoch in epochs for loss in epoch.losses]
    assert len(losses) == 9
    assert read_curves(tmp_path / "tb") == {
        "Loss/train": [(step, float32(loss)) for step, loss in enumerate(losses)],
        "Accuracy/test": [(epoch.index, float32(epoch.accuracy)) for epoch in epochs],
        "LearningRate/train": [(epoch.index, float32(epoch.learning_rate)) for epoch in epochs],
    }


def test_rows_held_out_have_curves_of_their_own(tmp_path: Path) -> None:
    """Their loss and accuracy, each epoch."""
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
    """Epochs count from 1; the numbers are those that observers get, to the last bit."""
    epochs = record_fit(tmp_path, configure(epochs=3, validation=0.3, patience=9))
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert [line["epoch"] for line in lines] == [1, 2, 3]
    assert [line["steps"] for line in lines] == [2, 4, 6]
    assert [line["loss"] for line in lines] == [epoch.loss for epoch in epochs]
    assert [line["best_epoch"] for line in lines] == [epoch.best + 1 for epoch in epochs]
    assert set(lines[0]) == {
        *("epoch", "steps", "learning_rate", "loss", "test_loss", "accuracy"),
        *("validation_loss", "validation_accuracy", "best_epoch"),
    }


def test_a_folder_that_is_watched_live_is_a_moment_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once the moment has passed, each epoch is there as soon as it has ended."""
    monkeypatch.setattr("trainer.tracking._BEHIND_S", 0.0)
    seen = []
    with open_journals(tmp_path, tmp_path / "tb", {}) as journals:

        def watch(epoch: Epoch) -> None:
            journals.watch(epoch)
            curves = read_curves(tmp_path / "tb")
            seen.append((len(curves["Loss/train"]), len(curves["Accuracy/test"])))

        fit(synthetic_products(1, train_rows=70), configure(epochs=3), watch=watch)
    assert seen == [(3, 1), (6, 2), (9, 3)]


def test_a_logdir_that_cannot_be_is_a_usage_error(tmp_path: Path) -> None:
    """The message names the file."""
    (tmp_path / "file").write_text("in the way")
    with (
        pytest.raises(UsageError, match=r"cannot write .*file/tb"),
        open_journals(tmp_path, tmp_path / "file" / "tb", {}),
    ):
        pass


@given(
    tag=st.text(min_size=1, max_size=200),
    first=st.one_of(st.integers(0, 300), st.integers(2**14 - 300, 2**14), st.integers(0, 2**40)),
    values=st.lists(st.floats(width=32, allow_nan=False), max_size=300),
    wall_time=st.floats(1, 2**40),
)
def test_records_are_those_of_tensorboards_own_writer(
    tag: str, first: int, values: list[float], wall_time: float
) -> None:
    """Bytes and checksums are the same, for any curve."""
    records = scalar_records(tag, first, values, wall_time)
    expected = bytearray()
    for step, value in enumerate(np.array(values, np.float32), start=first):
        event = Event(wall_time=wall_time, step=step)
        event.summary.value.add(tag=tag, simple_value=float(value))
        expected += framed(serialised(event))
    assert records == bytes(expected)


def test_a_file_begins_as_tensorboards_own() -> None:
    """The first record says which version of events follows."""
    event = Event(wall_time=12.5, file_version="brain.Event:2")
    assert file_header(12.5) == framed(event.SerializeToString())


def serialised(event: Event) -> bytes:
    """An event's bytes; step 0 is written too, as its absence and its zero are one."""
    text = bytes(event.SerializeToString())
    return text if event.step else text[:9] + b"\x10\x00" + text[9:]


def framed(data: bytes) -> bytes:
    """A record, by TensorBoard's own writer."""
    from io import BytesIO

    stream = BytesIO()
    RecordWriter(stream).write(data)
    return stream.getvalue()
