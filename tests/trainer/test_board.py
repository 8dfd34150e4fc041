"""What TensorBoard shows of a fit beside its curves, by TensorBoard's own readers."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams.metadata import (
    parse_experiment_plugin_data,
    parse_session_end_info_plugin_data,
    parse_session_start_info_plugin_data,
)
from tensorboard.util.tensor_util import make_ndarray

from runtime.schema.features import Feature, Schema
from trainer.attempt import Saving
from trainer.board.png import write_png
from trainer.board.precision import THRESHOLDS, count_hits
from trainer.board.regions import COLOURS, HEIGHT, WIDTH
from trainer.board.weights import is_time
from trainer.config import configure
from trainer.data import Dataset
from trainer.pipeline import make_run
from trainer.run import Rows, load_run

if TYPE_CHECKING:
    from pathlib import Path
    from random import Random

    from trainer.run import Run


class Shown:
    """An event folder as TensorBoard reads it."""

    def __init__(self, logdir: Path) -> None:
        self._reader = EventAccumulator(str(logdir), size_guidance={"tensors": 0}).Reload()

    @property
    def tags(self) -> dict[str, Any]:
        """Of all kinds."""
        return dict(self._reader.Tags())

    def plugins(self, name: str) -> dict[str, bytes]:
        """Tags of a tab, with what the plugin is told."""
        return dict(self._reader.PluginTagToContent(name))

    def tensors(self, tag: str) -> dict[int, np.ndarray[Any, Any]]:
        """By step."""
        return {event.step: make_ndarray(event.tensor_proto) for event in self._reader.Tensors(tag)}

    def graph(self) -> dict[str, Any]:
        """Nodes by name."""
        return {node.name: node for node in self._reader.Graph().node}

    def scalars(self, tag: str) -> list[tuple[int, float]]:
        """Steps and numbers."""
        return [(event.step, event.value) for event in self._reader.Scalars(tag)]

    def description(self, tag: str) -> str:
        """What stands beside a value."""
        return str(self._reader.SummaryMetadata(tag).summary_description)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run."""
    folder = tmp_path_factory.mktemp("board") / "run"
    options = configure(epochs=9, hidden=(8, 4), validation=0.2, learning_rate=0.3)
    make_run(folder, options, device="cpu")
    return folder


@pytest.fixture(scope="module")
def run(folder: Path) -> Run:
    """The run itself."""
    return load_run(folder)


@pytest.fixture(scope="module")
def shown(folder: Path) -> Shown:
    """What TensorBoard reads of it."""
    return Shown(folder / "tensorboard")


def test_every_parameter_has_histograms(shown: Shown) -> None:
    """Five of nine epochs, the first and the last among them; every weight is counted."""
    sizes = {"Layer 1/weight": 16, "Layer 1/bias": 8, "Layer 2/weight": 32, "Layer 3/bias": 2}
    assert sizes.keys() <= shown.plugins("histograms").keys()
    assert len(shown.plugins("histograms")) == 6
    for tag, size in sizes.items():
        rows = shown.tensors(tag)
        assert list(rows) == [0, 2, 4, 6, 8]
        assert [row[:, 2].sum() for row in rows.values()] == [size] * 5


def test_a_fit_that_ends_early_shows_its_last_weights(tmp_path: Path) -> None:
    """Patience ends it long before the last of the epochs that it might have had."""
    options = configure(epochs=4_000, validation=0.2, patience=2, learning_rate=0.5)
    run = make_run(tmp_path / "run", options, device="cpu").run
    (*_, last) = Shown(tmp_path / "run" / "tensorboard").tensors("Layer 1/weight")
    assert last == run.record.metrics["epochs"] - 1


@given(st.integers(1, 10_000))
def test_histograms_are_few(epochs: int) -> None:
    """At most five in a fit of any length, one of them after the last epoch."""
    times = [index for index in range(epochs) if is_time(index, epochs)]
    assert len(times) <= 5
    assert {times[0], times[-1]} == {0, epochs - 1}


def test_hparams_have_options_and_final_metrics(shown: Shown, run: Run) -> None:
    """Every option of the fit with its value, every metric of the run, a session that ended."""
    notes = shown.plugins("hparams")
    started = parse_session_start_info_plugin_data(notes["_hparams_/session_start_info"])
    assert started.hparams["learning_rate"].number_value == 0.3
    assert started.hparams["standardise"].bool_value is True
    assert started.hparams["hidden"].string_value == "8,4"
    assert "patience" not in started.hparams  # None
    assert parse_session_end_info_plugin_data(notes["_hparams_/session_end_info"]).status == 1
    experiment = parse_experiment_plugin_data(notes["_hparams_/experiment"])
    assert {info.name for info in experiment.hparam_infos} == set(started.hparams)
    tags = [info.name.tag for info in experiment.metric_infos]
    assert tags == [
        f"Final/{name}"
        for name in ("accuracy", "loss", "test_loss", "validation_loss", "validation_accuracy")
    ]
    for tag in tags:
        ((step, number),) = shown.scalars(tag)
        assert step == run.record.metrics["best_epoch"] - 1
        assert number == pytest.approx(run.record.metrics[tag.removeprefix("Final/")], rel=1e-6)


def test_each_class_has_a_precision_recall_curve(shown: Shown, run: Run) -> None:
    """At the threshold of one half they count what the network answers on the test rows."""
    with torch.inference_mode():
        said = run.model(run.rows.test_features).softmax(dim=1).numpy()
    labels = run.rows.test_labels.numpy()
    assert set(shown.plugins("pr_curves")) == {"PR/no", "PR/yes"}
    for place, name in enumerate(("no", "yes")):
        (rows,) = shown.tensors(f"PR/{name}").values()
        taken, true = said[:, place] >= 0.5, labels == place
        counts = [taken & true, taken & ~true, ~taken & ~true, ~taken & true]
        assert rows[:4, 100].tolist() == [count.sum() for count in counts]
        assert (rows[5, 0], rows[5, -1]) == (1.0, pytest.approx((said[true, place] == 1).mean()))


@given(st.lists(st.tuples(st.integers(0, 400), st.booleans()), min_size=1, max_size=60))
def test_hits_are_counted_at_every_threshold(rows: list[tuple[int, bool]]) -> None:
    """As by comparing every probability with every threshold."""
    probabilities = np.array([number / 400 for number, _ in rows], np.float32)
    true = np.array([flag for _, flag in rows])
    found = count_hits(probabilities, true)
    for threshold in range(THRESHOLDS):
        taken = np.floor(probabilities * (THRESHOLDS - 1)) >= threshold
        counts = [taken & true, taken & ~true, ~taken & ~true, ~taken & true]
        assert found[:4, threshold].tolist() == [count.sum() for count in counts]
    assert found[4:].min() >= 0
    assert found[4:].max() <= 1


def test_the_graph_is_the_networks(shown: Shown) -> None:
    """A node a parameter and a call, with its shape, and nothing that is not connected."""
    nodes = shown.graph()
    assert list(nodes["layer_1/relu"].input) == ["layer_1/linear"]
    assert list(nodes["layer_3/linear"].input) == ["layer_2/relu", "layer_3/weight", "layer_3/bias"]
    assert "layer_3/relu" not in nodes
    assert {"features", "logits", "probabilities", "label"} <= nodes.keys()
    assert {source for node in nodes.values() for source in node.input} <= nodes.keys()
    (shape,) = nodes["layer_2/weight"].attr["_output_shapes"].list.shape
    assert [dim.size for dim in shape.dim] == [4, 8]


def test_the_configuration_is_a_text(shown: Shown, run: Run) -> None:
    """Options, data and versions, each a table."""
    assert set(shown.plugins("text")) == {"Configuration", "Data", "Versions"}
    (options,) = shown.tensors("Configuration").values()
    for name in (*run.record.configuration, "hidden", "seed"):
        assert f"| {name.replace('_', chr(92) + '_')} |" in options.item().decode()
    (data,) = shown.tensors("Data").values()
    assert run.record.data_digest in data.item().decode()


def test_two_features_have_a_picture_of_their_regions(shown: Shown) -> None:
    """Sure corners have the colour of their class, and the words beside it say which that is."""
    import PIL.Image

    (parts,) = shown.tensors("Decision regions").values()
    assert [int(part) for part in parts[:2]] == [WIDTH, HEIGHT]
    pixels = np.asarray(PIL.Image.open(io.BytesIO(parts[2])).convert("RGB"))
    assert pixels.shape == (HEIGHT, WIDTH, 3)
    corners = {"blue": pixels[-1, 0], "orange": pixels[0, -1]}  # no: cheap and bad; yes: neither
    for name, corner in corners.items():
        shades = [255 + depth * (np.array(COLOURS[name]) - 255.0) for depth in (0.45, 0.6)]
        assert (np.minimum(*shades) - 1 <= corner).all()
        assert (corner <= np.maximum(*shades) + 1).all()
    said = shown.description("Decision regions")
    assert "**price**" in said
    assert "blue no, orange yes" in said


@given(
    st.integers(1, 40), st.integers(1, 40), st.integers(1, 256), st.randoms(use_true_random=False)
)
def test_pictures_are_read_as_they_were(
    height: int, width: int, colours: int, random: Random
) -> None:
    """Every pixel in its colour, by a reader that is not ours."""
    import PIL.Image

    palette = np.frombuffer(random.randbytes(colours * 3), np.uint8).reshape(colours, 3)
    pixels = np.frombuffer(random.randbytes(height * width), np.uint8).reshape(height, width)
    pixels = pixels % np.uint16(colours)
    picture = PIL.Image.open(io.BytesIO(write_png(pixels.astype(np.uint8), palette))).convert("RGB")
    assert np.asarray(picture).tobytes() == palette[pixels].tobytes()


def test_other_tables_have_no_picture(tmp_path: Path) -> None:
    """Three features and strange names: a curve a class under its own name, no regions."""
    generator = torch.Generator().manual_seed(3)
    features = torch.rand(60, 3, generator=generator)
    labels = torch.arange(60) % 3
    rows = Rows(features, labels, features[:20], labels[:20])
    columns = tuple(Feature(name, minimum=0.0, maximum=1.0) for name in ("a|b", "*c*", "<b>d</b>"))
    dataset = Dataset(Schema("kind", columns, ("x/y", "", "ü")), rows)
    make_run(tmp_path / "run", configure(epochs=1, hidden=()), dataset, device="cpu")
    shown = Shown(tmp_path / "run" / "tensorboard")
    assert "Decision regions" not in shown.tags["tensors"]
    assert set(shown.plugins("pr_curves")) == {"PR/x/y", "PR/", "PR/ü"}
    (data,) = shown.tensors("Data").values()
    assert r"a\|b, \*c\*, \<b\>d\</b\>" in data.item().decode()


def test_a_fit_that_was_cut_shows_everything_once(
    folder: Path, shown: Shown, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where it was cut after the last page was written."""
    options = configure(epochs=9, hidden=(8, 4), validation=0.2, learning_rate=0.3)

    def fail(*_: object) -> None:
        raise MemoryError

    with monkeypatch.context() as patch:
        patch.setattr("trainer.pipeline.save_run", fail)
        with pytest.raises(MemoryError):
            make_run(tmp_path / "run", options, device="cpu", saving=Saving(checkpoint_every_s=0))
    resumed = Saving(resume=True)
    make_run(tmp_path / "run", options, device="cpu", saving=resumed)
    again = Shown(tmp_path / "run" / "tensorboard")
    assert again.tags == shown.tags
    for tag in shown.tags["scalars"]:
        assert again.scalars(tag) == shown.scalars(tag)
    for tag in shown.tags["tensors"]:
        ours, theirs = again.tensors(tag), shown.tensors(tag)
        assert list(ours) == list(theirs)
        for step, tensor in ours.items():
            np.testing.assert_array_equal(tensor, theirs[step])
    for name in ("run.json", "weights.safetensors"):
        assert (tmp_path / "run" / name).read_bytes() == (folder / name).read_bytes()
