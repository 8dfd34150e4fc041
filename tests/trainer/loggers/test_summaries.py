"""TensorBoard's messages hold what its tabs expect."""

from __future__ import annotations

import math
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.graph_pb2 import GraphDef
from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData
from tensorboard.plugins.pr_curve.plugin_data_pb2 import PrCurvePluginData
from tensorboard.util.tensor_util import make_ndarray

from trainer.loggers.events import (
    graph_record,
    histogram,
    hparams,
    image,
    pr_curve,
    scalar,
    summary_record,
    text,
)
from trainer.model import SimpleNet

if TYPE_CHECKING:
    from pathlib import Path

LENGTH, CHECKSUM = 8, 4  # bytes of a record, before and after its data


def event_of(record: bytes) -> Any:  # noqa: ANN401 - tensorboard publishes no types
    """Parse the event of a record."""
    return Event.FromString(record[LENGTH + CHECKSUM : -CHECKSUM])


@given(st.text(), st.floats(width=32, allow_nan=False), st.text())
def test_scalars_and_texts(tag: str, number: float, markdown: str) -> None:
    """Tags and texts in any script."""
    value = scalar(tag, number)
    assert (value.tag, value.simple_value) == (tag, number)
    value = text(tag, markdown)
    assert value.metadata.plugin_data.plugin_name == "text"
    assert make_ndarray(value.tensor).item() == markdown.encode()


def test_images_and_curves() -> None:
    """Tensors and plugin data."""
    value = image("p", b"\x89PNG", (4, 5), "description")
    assert make_ndarray(value.tensor).tolist() == [b"4", b"5", b"\x89PNG"]
    assert value.metadata.summary_description == "description"
    rows = np.random.default_rng(1).random((6, 201)).astype(np.float32)
    value = pr_curve("PR/a", rows, "description")
    np.testing.assert_array_equal(make_ndarray(value.tensor), rows)
    content = value.metadata.plugin_data.content
    assert PrCurvePluginData.FromString(content).num_thresholds == 201


@given(st.lists(st.floats(width=32), max_size=60))
@example([math.inf, math.inf])
@example([math.nan, -math.inf, 1.0])
def test_histograms_count_every_finite_number(numbers: list[float]) -> None:
    """In thirty buckets of equal width, from the smallest to the largest."""
    values = np.array(numbers, np.float32)
    rows = make_ndarray(histogram("h", values).tensor)
    finite = values[np.isfinite(values)]
    assert rows.shape == (30, 3)
    assert rows[:, 2].sum() == len(finite)
    np.testing.assert_array_equal(rows[1:, 0], rows[:-1, 1])
    if len(set(finite.tolist())) > 1:
        assert (rows[0, 0], rows[-1, 1]) == (finite.min(), finite.max())


@pytest.mark.parametrize("option", [0.1, 0, 7, -3, True, False, "x", ""])
def test_hparams_keep_their_types(option: float | str) -> None:
    """Zeros, false and empty texts are written, too; None has no value."""
    values = hparams({"a": option, "b": None}, {"m": "Loss/m", "n": "Loss/n"})
    data = [HParamsPluginData.FromString(each.metadata.plugin_data.content) for each in values[:3]]
    assert list(data[1].session_start_info.hparams) == ["a"]
    found = data[1].session_start_info.hparams["a"]
    kind = {bool: "bool_value", str: "string_value"}.get(type(option), "number_value")
    assert found.WhichOneof("kind") == kind
    assert getattr(found, kind) == option
    metrics = {one.display_name: one.name.tag for one in data[0].experiment.metric_infos}
    assert metrics == {"m": "Loss/m", "n": "Loss/n"}
    assert data[2].session_end_info.status == 1
    assert len(values) == 3  # no charts of one dot: a metric is the end of its curve


def test_events_and_graphs() -> None:
    """Events at step 0 and others; a graph with the shapes of its nodes."""
    for step in (0, 300):
        event = event_of(summary_record([scalar("a", 1.0), text("b", "c")], step))
        assert (event.step, [value.tag for value in event.summary.value]) == (step, ["a", "b"])
        assert event.wall_time > 1.6e9
    names = ["price", "region=north/west", "région"]
    graph = GraphDef.FromString(event_of(graph_record(SimpleNet(3, 2, (4,)), names)).graph_def)
    inputs = ["inputs/price", "inputs/region=north_west_2", "inputs/région"]
    assert [node.name for node in graph.node][:5] == [*inputs, "features", "layer_1/weight"]
    assert list(graph.node[3].input) == inputs
    sizes = graph.node[3].attr["_output_shapes"].list.shape[0].dim
    assert [size.size for size in sizes] == [-1, 3]
    assert graph.versions.producer == 22


def test_a_fit_loads_only_tensorboards_messages(tmp_path: Path) -> None:
    """Its writers and helpers take longer to import than a short fit takes."""
    code = (
        "import sys; from pathlib import Path; from trainer.config import configure; "
        "from trainer.pipeline import make_run; "
        f"make_run(Path({str(tmp_path / 'run')!r}), configure(epochs=1), device='cpu'); "
        "print(*sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = done.stdout.split()
    assert "trainer.loggers.final_summaries" in loaded
    helpers = {"util", "summary", "backend", "data", "compat.tensorflow_stub"}
    assert helpers.isdisjoint(name.removeprefix("tensorboard.") for name in loaded)
    assert {"grpc", "absl", "torch.utils.tensorboard"}.isdisjoint(loaded)
