"""The final summaries of a fit, read by TensorBoard's own loader."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import numpy as np
import PIL.Image
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

from runtime.schema.features import Feature, OneHot, Schema
from trainer import pipeline
from trainer.config import configure
from trainer.data.dataset import Dataset, Rows
from trainer.loggers.diagrams import SIZE, draw_calibration, draw_confusion
from trainer.loggers.plots import (
    COLOURS,
    HEIGHT,
    THRESHOLDS,
    WIDTH,
    confusion_at_thresholds,
    encode_png,
)
from trainer.pipeline import make_run
from trainer.run import load_run
from trainer.schedule import evenly_spaced
from trainer.session import SaveOptions

if TYPE_CHECKING:
    from pathlib import Path
    from random import Random

    from trainer.run import Run


class EventFolder:
    """An event folder as TensorBoard reads it."""

    def __init__(self, logdir: Path) -> None:
        self._reader = EventAccumulator(str(logdir), size_guidance={"tensors": 0}).Reload()

    @property
    def tags(self) -> dict[str, Any]:
        """Tags of every kind."""
        return dict(self._reader.Tags())

    def plugins(self, name: str) -> dict[str, bytes]:
        """Tags of a tab, with its plugin data."""
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
        """The description of a value."""
        return str(self._reader.SummaryMetadata(tag).summary_description)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run."""
    folder = tmp_path_factory.mktemp("tensorboard") / "run"
    options = configure(epochs=9, hidden=(8, 4), validation=0.2, learning_rate=0.3)
    make_run(folder, options, device="cpu")
    return folder


@pytest.fixture(scope="module")
def run(folder: Path) -> Run:
    """The run itself."""
    return load_run(folder)


@pytest.fixture(scope="module")
def events(folder: Path) -> EventFolder:
    """Its event folder."""
    return EventFolder(folder / "tensorboard")


def test_every_parameter_has_histograms(events: EventFolder) -> None:
    """In five of nine epochs, including the first and the last; every weight is counted."""
    sizes = {"Layer 1/weight": 16, "Layer 1/bias": 8, "Layer 2/weight": 32, "Layer 3/bias": 2}
    assert sizes.keys() <= events.plugins("histograms").keys()
    assert len(events.plugins("histograms")) == 6
    for tag, size in sizes.items():
        rows = events.tensors(tag)
        assert list(rows) == [0, 2, 4, 6, 8]
        assert [row[:, 2].sum() for row in rows.values()] == [size] * 5


def test_early_stopping_logs_the_last_weights(tmp_path: Path) -> None:
    """Patience stops it long before the maximum number of epochs."""
    options = configure(epochs=4_000, validation=0.2, patience=2, learning_rate=0.5)
    run = make_run(tmp_path / "run", options, device="cpu").run
    (*_, last) = EventFolder(tmp_path / "run" / "tensorboard").tensors("Layer 1/weight")
    assert last == run.record.metrics["epochs"] - 1


@given(st.integers(1, 10_000))
def test_histograms_are_few(epochs: int) -> None:
    """At most five in a fit of any length, one of them after the last epoch."""
    logged = evenly_spaced(epochs, 5)
    assert len(logged) <= 5
    assert {min(logged), max(logged)} == {0, epochs - 1}


def test_hparams_have_options_and_final_metrics(events: EventFolder, run: Run) -> None:
    """Every option with its value, every metric of the run, a session that succeeded."""
    notes = events.plugins("hparams")
    started = parse_session_start_info_plugin_data(notes["_hparams_/session_start_info"])
    assert started.hparams["learning_rate"].number_value == 0.3
    assert started.hparams["standardise"].bool_value is True
    assert started.hparams["hidden"].string_value == "8,4"
    assert "patience" not in started.hparams  # None
    assert parse_session_end_info_plugin_data(notes["_hparams_/session_end_info"]).status == 1
    experiment = parse_experiment_plugin_data(notes["_hparams_/experiment"])
    assert {info.name for info in experiment.hparam_infos} == set(started.hparams)
    tags = {info.display_name: info.name.tag for info in experiment.metric_infos}
    names = {
        "test accuracy": "accuracy",
        "test loss": "test_loss",
        "train loss": "loss",
        "validation accuracy": "validation_accuracy",
        "validation loss": "validation_loss",
    }
    assert list(tags) == list(names)
    for name, key in names.items():
        number = events.scalars(tags[name])[-1][1]
        assert number == pytest.approx(run.record.metrics[key], rel=1e-6)


def test_curves_end_with_the_model_that_is_kept(tmp_path: Path) -> None:
    """With early stopping that is an earlier epoch; the HParams tab shows the end of a curve."""
    options = configure(epochs=400, validation=0.2, patience=2, learning_rate=0.5)
    metrics = make_run(tmp_path / "run", options, device="cpu").run.record.metrics
    assert metrics["best_epoch"] < metrics["epochs"]
    curve = EventFolder(tmp_path / "run" / "tensorboard").scalars("Loss/test")
    assert [step for step, _ in curve] == list(range(int(metrics["epochs"]) + 1))
    assert curve[-1][1] == curve[int(metrics["best_epoch"]) - 1][1]


def test_no_chart_has_one_dot(events: EventFolder) -> None:
    """A curve has at least two points where a fit has several epochs."""
    assert all(len(events.scalars(tag)) > 1 for tag in events.tags["scalars"])


def test_each_class_has_a_precision_recall_curve(events: EventFolder, run: Run) -> None:
    """At the threshold 0.5 they count the predictions on the test rows."""
    with torch.inference_mode():
        probabilities = run.model(run.rows.test_features).softmax(dim=1).numpy()
    labels = run.rows.test_labels.numpy()
    assert set(events.plugins("pr_curves")) == {"PR/no", "PR/yes"}
    for index, name in enumerate(("no", "yes")):
        (rows,) = events.tensors(f"PR/{name}").values()
        taken, true = probabilities[:, index] >= 0.5, labels == index
        counts = [taken & true, taken & ~true, ~taken & ~true, ~taken & true]
        assert rows[:4, 100].tolist() == [count.sum() for count in counts]
        assert (rows[5, 0], rows[5, -1]) == (
            1.0,
            pytest.approx((probabilities[true, index] == 1).mean()),
        )


@given(st.lists(st.tuples(st.integers(0, 400), st.booleans()), min_size=1, max_size=60))
def test_confusion_is_counted_at_every_threshold(rows: list[tuple[int, bool]]) -> None:
    """Counts equal those of comparing every probability with every threshold."""
    probabilities = np.array([number / 400 for number, _ in rows], np.float32)
    true = np.array([flag for _, flag in rows])
    found = confusion_at_thresholds(probabilities, true)
    for threshold in range(THRESHOLDS):
        taken = np.floor(probabilities * (THRESHOLDS - 1)) >= threshold
        counts = [taken & true, taken & ~true, ~taken & ~true, ~taken & true]
        assert found[:4, threshold].tolist() == [count.sum() for count in counts]
    assert found[4:].min() >= 0
    assert found[4:].max() <= 1


def test_the_graph_is_the_networks(events: EventFolder) -> None:
    """One node per parameter and operation, with its shape; every input exists."""
    nodes = events.graph()
    assert list(nodes["layer_1/relu"].input) == ["layer_1/linear"]
    assert list(nodes["layer_3/linear"].input) == ["layer_2/relu", "layer_3/weight", "layer_3/bias"]
    assert "layer_3/relu" not in nodes
    assert {"features", "logits", "probabilities", "label"} <= nodes.keys()
    assert {source for node in nodes.values() for source in node.input} <= nodes.keys()
    (shape,) = nodes["layer_2/weight"].attr["_output_shapes"].list.shape
    assert [dim.size for dim in shape.dim] == [4, 8]


def test_the_configuration_is_a_text(events: EventFolder, run: Run) -> None:
    """Options, data and versions are tables."""
    assert set(events.plugins("text")) == {"Configuration", "Data", "Inputs", "Versions"}
    (options,) = events.tensors("Configuration").values()
    for name in (*run.record.configuration, "hidden", "seed"):
        assert f"| {name.replace('_', chr(92) + '_')} |" in options.item().decode()
    (data,) = events.tensors("Data").values()
    assert run.record.data_digest in data.item().decode()


def test_two_features_have_decision_regions(events: EventFolder) -> None:
    """Corners have the colour of their class, and the description maps colours to classes."""
    (parts,) = events.tensors("Decision regions").values()
    assert [int(part) for part in parts[:2]] == [WIDTH, HEIGHT]
    pixels = np.asarray(PIL.Image.open(io.BytesIO(parts[2])).convert("RGB"))
    assert pixels.shape == (HEIGHT, WIDTH, 3)
    corners = {"blue": pixels[-1, 0], "orange": pixels[0, -1]}  # no: cheap and bad; yes: neither
    for name, corner in corners.items():
        shades = [255 + depth * (np.array(COLOURS[name]) - 255.0) for depth in (0.45, 0.6)]
        assert (np.minimum(*shades) - 1 <= corner).all()
        assert (corner <= np.maximum(*shades) + 1).all()
    description = events.description("Decision regions")
    assert "**price**" in description
    assert "blue no, orange yes" in description


@given(
    st.integers(1, 40), st.integers(1, 40), st.integers(1, 256), st.randoms(use_true_random=False)
)
def test_pngs_decode_to_their_pixels(height: int, width: int, colours: int, random: Random) -> None:
    """Every pixel has its colour of the palette."""
    palette = np.frombuffer(random.randbytes(colours * 3), np.uint8).reshape(colours, 3)
    pixels = np.frombuffer(random.randbytes(height * width), np.uint8).reshape(height, width)
    pixels = pixels % np.uint16(colours)
    picture = PIL.Image.open(io.BytesIO(encode_png(pixels.astype(np.uint8), palette))).convert(
        "RGB"
    )
    assert np.asarray(picture).tobytes() == palette[pixels].tobytes()


def test_other_tables_have_no_regions(tmp_path: Path) -> None:
    """Three features and odd names: one PR curve per class under its name, no regions."""
    generator = torch.Generator().manual_seed(3)
    features = torch.rand(60, 3, generator=generator)
    labels = torch.arange(60) % 3
    rows = Rows(features, labels, features[:20], labels[:20])
    columns = tuple(Feature(name, minimum=0.0, maximum=1.0) for name in ("a|b", "*c*", "<b>d</b>"))
    dataset = Dataset(Schema("kind", columns, ("x/y", "", "ü")), rows)
    make_run(tmp_path / "run", configure(epochs=1, hidden=()), dataset, device="cpu")
    events = EventFolder(tmp_path / "run" / "tensorboard")
    assert "Decision regions" not in events.tags["tensors"]
    assert set(events.plugins("pr_curves")) == {"PR/x/y", "PR/", "PR/ü"}
    (data,) = events.tensors("Data").values()
    assert r"a\|b, \*c\*, \<b\>d\</b\>" in data.item().decode()
    assert set(events.plugins("images")) == {"Calibration", "Confusion matrix"}
    for tag in ("Calibration", "Confusion matrix"):
        (parts,) = events.tensors(tag).values()
        assert PIL.Image.open(io.BytesIO(parts[2])).size == SIZE
    assert "in this order: x/y, , ü." in events.description("Confusion matrix")


def test_inputs_have_the_names_of_columns_and_categories(tmp_path: Path) -> None:
    """In the Text tab and in the graph."""
    columns = (Feature("x", 0, 1), Feature("region", 0, 1, one_hot=OneHot(("north", "south"))))
    features = torch.tensor([[0.5, 1, 0], [1, 0, 1]]).repeat(30, 1)
    rows = Rows(features, torch.arange(60) % 2, features[:20], torch.arange(20) % 2)
    dataset = Dataset(Schema("kind", columns, ("no", "yes")), rows)
    make_run(tmp_path / "run", configure(epochs=2), dataset, device="cpu")
    events = EventFolder(tmp_path / "run" / "tensorboard")
    (text,) = events.tensors("Inputs").values()
    assert "| 2 | region=north \\(mean 0.5\\) |" in text.item().decode()
    names = [name for name in events.graph() if name.startswith("inputs/")]
    assert names == ["inputs/x", "inputs/region=north", "inputs/region=south"]


def test_imputed_columns_have_the_names_that_people_know(tmp_path: Path) -> None:
    """Their indicators are inputs with a name of words, and no columns."""
    columns = (Feature("age", 0, 1), Feature("income", 0, 1, missing="imputed"))
    features = torch.tensor([[0.5, 1], [1, float("nan")], [0, 0.5]]).repeat(20, 1)
    rows = Rows(features, torch.arange(60) % 2, features[:20], torch.arange(20) % 2)
    dataset = Dataset(Schema("kind", columns, ("no", "yes")), rows)
    make_run(tmp_path / "run", configure(epochs=2), dataset, device="cpu")
    events = EventFolder(tmp_path / "run" / "tensorboard")
    (data,), (inputs,) = (events.tensors(tag).values() for tag in ("Data", "Inputs"))
    assert "| features | age, income |" in data.item().decode()
    assert "| 3 | income is missing \\(mean 0.3333\\) |" in inputs.item().decode()
    assert "inputs/income_is_missing_3" in events.graph()


def test_diagrams_show_counts_and_shares() -> None:
    """A perfect classifier is dark on the diagonal; any number of rows and classes is drawn."""
    counts = np.array([[9, 0], [0, 1000]])
    pixels = np.asarray(PIL.Image.open(io.BytesIO(draw_confusion(counts, ["a", "b" * 99]))))
    assert pixels[60, 110].tolist() == [0, 114, 178]
    assert pixels[60, 440].tolist() == [255, 255, 255]
    confidences = np.array([0.0, 0.05, 0.5, 1.0])
    png = draw_calibration(confidences, confidences > 0.3, ("probability", "share"))
    assert len(np.unique(np.asarray(PIL.Image.open(io.BytesIO(png))))) > 2


def test_a_resumed_fit_logs_everything_once(
    folder: Path, events: EventFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also if it was interrupted after the final summaries were written."""
    options = configure(epochs=9, hidden=(8, 4), validation=0.2, learning_rate=0.3)

    def fail(*_: object) -> None:
        raise MemoryError

    with monkeypatch.context() as patch:
        patch.setattr(pipeline, "save_run", fail)
        with pytest.raises(MemoryError):
            make_run(
                tmp_path / "run", options, device="cpu", saving=SaveOptions(checkpoint_every_s=0)
            )
    resumed = SaveOptions(resume=True)
    make_run(tmp_path / "run", options, device="cpu", saving=resumed)
    again = EventFolder(tmp_path / "run" / "tensorboard")
    assert again.tags == events.tags
    for tag in events.tags["scalars"]:
        assert again.scalars(tag) == events.scalars(tag)
    for tag in events.tags["tensors"]:
        ours, theirs = again.tensors(tag), events.tensors(tag)
        assert list(ours) == list(theirs)
        for step, tensor in ours.items():
            np.testing.assert_array_equal(tensor, theirs[step])
    for name in ("run.json", "weights.safetensors"):
        assert (tmp_path / "run" / name).read_bytes() == (folder / name).read_bytes()
