"""What is written field by field is what TensorBoard's own library of messages writes."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.graph_pb2 import GraphDef
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData
from tensorboard.plugins.pr_curve.plugin_data_pb2 import PrCurvePluginData
from tensorboard.summary.writer.record_writer import masked_crc32c
from tensorboard.util.tensor_util import make_ndarray

from trainer import wire
from trainer.board.graph import graph_record
from trainer.board.hparams import compare
from trainer.board.summaries import histogram, picture, precision_recall, scalar, text, to_record
from trainer.events import event_record
from trainer.model import SimpleNet

if TYPE_CHECKING:
    from pathlib import Path

LENGTH, CHECKSUM = 8, 4  # bytes of a record, before and after its data


def read(value: bytes) -> Any:  # noqa: ANN401 - tensorboard publishes no types
    """Read a value; it has no field that TensorBoard does not know, and none that says nothing."""
    found = Summary.Value.FromString(value)
    assert found.ByteSize() == len(value)
    return found


def event_of(record: bytes) -> Any:  # noqa: ANN401 - as above
    return Event.FromString(record[LENGTH + CHECKSUM : -CHECKSUM])


@given(st.binary(max_size=700))
def test_checksums_are_tensorboards(data: bytes) -> None:
    """Of data shorter and longer than the pieces that are looked at side by side."""
    record = event_record(data)
    assert record[LENGTH + CHECKSUM : -CHECKSUM] == data
    assert int.from_bytes(record[-CHECKSUM:], "little") == masked_crc32c(data)


@given(st.integers(-(2**63), 2**63 - 1), st.integers(1, 2**29 - 1))
def test_integers_are_read_back(value: int, number: int) -> None:
    """Negative ones too, which take ten bytes; a field of 0 is left out."""
    assert Event.FromString(wire.whole(2, value)).step == value
    assert (wire.whole(number, value) == b"") == (value == 0)


@given(st.text(), st.floats(width=32, allow_nan=False), st.text())
def test_scalars_and_texts(tag: str, number: float, said: str) -> None:
    """Tags and texts in any script."""
    value = read(scalar(tag, number))
    assert (value.tag, value.simple_value) == (tag, number)
    value = read(text(tag, said))
    assert value.metadata.plugin_data.plugin_name == "text"
    assert make_ndarray(value.tensor).item() == said.encode()


def test_pictures_and_curves() -> None:
    """The tensors, and what the plugins are told."""
    value = read(picture("p", b"\x89PNG", (4, 5), "said"))
    assert make_ndarray(value.tensor).tolist() == [b"4", b"5", b"\x89PNG"]
    assert value.metadata.summary_description == "said"
    rows = np.random.default_rng(1).random((6, 201)).astype(np.float32)
    value = read(precision_recall("PR/a", rows, "said"))
    np.testing.assert_array_equal(make_ndarray(value.tensor), rows)
    content = value.metadata.plugin_data.content
    assert PrCurvePluginData.FromString(content).num_thresholds == 201


@given(st.lists(st.floats(width=32), max_size=60))
def test_histograms_count_every_finite_number(numbers: list[float]) -> None:
    """In thirty buckets of one width, from the smallest to the largest."""
    values = np.array(numbers, np.float32)
    rows = make_ndarray(read(histogram("h", values)).tensor)
    finite = values[np.isfinite(values)]
    assert rows.shape == (30, 3)
    assert rows[:, 2].sum() == len(finite)
    np.testing.assert_array_equal(rows[1:, 0], rows[:-1, 1])
    if len(set(finite.tolist())) > 1:
        assert (rows[0, 0], rows[-1, 1]) == (finite.min(), finite.max())


@pytest.mark.parametrize("value", [0.1, 0, 7, -3, True, False, "x", ""])
def test_hparams_keep_their_kinds(value: float | str) -> None:
    """Zeros, false and empty texts are said, too; what is None has no value."""
    notes = [read(each) for each in compare({"a": value, "b": None}, {"m": 0.5, "n": None})]
    told = [HParamsPluginData.FromString(note.metadata.plugin_data.content) for note in notes[:3]]
    assert list(told[1].session_start_info.hparams) == ["a"]
    found = told[1].session_start_info.hparams["a"]
    kind = {bool: "bool_value", str: "string_value"}.get(type(value), "number_value")
    assert found.WhichOneof("kind") == kind
    assert getattr(found, kind) == value
    assert [info.display_name for info in told[0].experiment.metric_infos] == ["m", "n"]
    assert told[2].session_end_info.status == 1
    assert [note.tag for note in notes[3:]] == ["Final/m"]


def test_events_and_graphs() -> None:
    """A step of 0 as well as others; every node of a graph is known."""
    for step in (0, 300):
        event = event_of(to_record([scalar("a", 1.0), text("b", "c")], step))
        assert (event.step, [value.tag for value in event.summary.value]) == (step, ["a", "b"])
        assert event.wall_time > 1.6e9
    graph = GraphDef.FromString(event_of(graph_record(SimpleNet(3, 2, (4,)))).graph_def)
    assert [node.name for node in graph.node][:2] == ["features", "layer_1/weight"]
    sizes = graph.node[0].attr["_output_shapes"].list.shape[0].dim
    assert [size.size for size in sizes] == [-1, 3]
    assert graph.versions.producer == 22


def test_a_fit_does_not_load_tensorboard(tmp_path: Path) -> None:
    """Its messages are made without its library, which takes as long to load as a short fit."""
    code = (
        "import sys; from pathlib import Path; from trainer.config import configure; "
        "from trainer.pipeline import make_run; "
        f"make_run(Path({str(tmp_path / 'run')!r}), configure(epochs=1), device='cpu'); "
        "print(*sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "trainer.board.pages" in done.stdout.split()
    assert {"tensorboard", "google"}.isdisjoint(done.stdout.split())
