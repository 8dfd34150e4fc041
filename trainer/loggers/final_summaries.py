"""Build the summaries that TensorBoard shows of a completed fit: all but the curves."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from runtime.monitoring.accuracy import confusion_matrix
from trainer.data.preprocessing import column_names, input_names
from trainer.evaluation.metrics import BLOCK_ROWS
from trainer.loggers.events import (
    graph_record,
    hparams,
    image,
    pr_curve,
    scalar,
    summary_record,
    text,
)
from trainer.loggers.plots import (
    COLOURS,
    HEIGHT,
    THRESHOLDS,
    WIDTH,
    axis_ranges,
    confusion_at_thresholds,
    plot_regions,
)
from trainer.loggers.tensorboard import (
    ACCURACY_TEST,
    ACCURACY_VALIDATION,
    LOSS_EPOCH,
    LOSS_TEST,
    LOSS_VALIDATION,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import numpy.typing as npt

    from runtime.bundle.manifest import Scalar
    from trainer.checkpoint.format import FitIdentity
    from trainer.checkpoint.state import Epoch, FitResult
    from trainer.data.dataset import Dataset
    from trainer.loggers.events import Message
    from trainer.model import SimpleNet

    Probabilities = npt.NDArray[np.float32]

# Name in the HParams tab, the curve, and its value.
_METRICS: dict[str, tuple[str, Callable[[Epoch], float | None]]] = {
    "test accuracy": (ACCURACY_TEST, lambda epoch: epoch.accuracy),
    "test loss": (LOSS_TEST, lambda epoch: epoch.test_loss),
    "train loss": (LOSS_EPOCH, lambda epoch: epoch.loss),
    "validation accuracy": (
        ACCURACY_VALIDATION,
        lambda epoch: epoch.validation.accuracy if epoch.validation else None,
    ),
    "validation loss": (
        LOSS_VALIDATION,
        lambda epoch: epoch.validation.loss if epoch.validation else None,
    ),
}
MAX_INPUTS = 200  # in the table of the Text tab
MAX_CURVES = 50  # classes with a PR curve: each takes 5 kB and space on the page


def final_records(this: FitIdentity, dataset: Dataset, fitted: FitResult) -> bytes:
    """Build all records that are written once, after the curves."""
    probabilities = _predict(fitted.model, dataset)
    options = {**this.options, "hidden": ",".join(map(str, this.hidden)), "seed": this.seed}
    values = [
        text("Configuration", _format_table("option", options)),
        text("Data", _format_table("", _describe_data(dataset) | {"sha256": this.data_digest})),
        text("Versions", _format_table("package", this.versions)),
        text("Inputs", _format_inputs(dataset)),
        *hparams(options, {name: tag for name, (tag, _) in _METRICS.items()}),
        *_pr_curves(probabilities, dataset),
        *(_regions(fitted.model, dataset) or _diagrams(probabilities, dataset)),
    ]
    records = graph_record(fitted.model, input_names(dataset.schema))
    return records + summary_record(values, fitted.last.index) + _return_to_best(fitted)


def _return_to_best(fitted: FitResult) -> bytes:
    """Continue the curves with the metrics of the model where it is from an earlier epoch."""
    if fitted.last.index + 1 == fitted.epochs:
        return b""
    found = {tag: metric(fitted.last) for tag, metric in _METRICS.values()}
    values = [scalar(tag, number) for tag, number in found.items() if number is not None]
    return summary_record(values, fitted.epochs)


def _format_table(head: str, cells: Mapping[str, object]) -> str:
    """Format a Markdown table of two columns."""
    lines = [f"| {head} | value |", "|---|---|"]
    lines += [f"| {_escape(name)} | {_escape(str(cell))} |" for name, cell in cells.items()]
    return "\n".join(lines)


def _escape(cell: str) -> str:
    """Escape Markdown: names of columns and classes may hold anything."""
    plain = " ".join(cell.split())
    return "".join(f"\\{letter}" if letter in r"\`*_{}[]<>()#|!" else letter for letter in plain)


def _describe_data(dataset: Dataset) -> dict[str, Scalar]:
    schema, rows = dataset.schema, dataset.rows
    return {
        "target": schema.target,
        "features": ", ".join(column_names(schema)),
        "classes": ", ".join(schema.classes),
        "training rows": len(rows.train_labels),
        "test rows": len(rows.test_labels),
    }


def _format_inputs(dataset: Dataset) -> str:
    """Format the inputs of the network, with the mean of each over the training rows."""
    names = input_names(dataset.schema)[:MAX_INPUTS]
    features = dataset.rows.train_features[:, : len(names)]
    means = features.nanmean(dim=0, dtype=torch.float64).tolist()
    cells: dict[str, object] = {
        f"{at}": f"{name} (mean {mean:.4g})"
        for at, (name, mean) in enumerate(zip(names, means, strict=True), start=1)
    }
    if more := len(dataset.schema.inputs) - len(names):
        cells["…"] = f"and {more:,} more"
    return _format_table("input", cells)


@torch.inference_mode()
def _predict(model: SimpleNet, dataset: Dataset) -> Probabilities:
    """Predict the probabilities of the test rows, ``(rows, classes)``."""
    blocks = torch.split(dataset.rows.test_features, BLOCK_ROWS)
    return torch.cat([model(block).softmax(dim=1) for block in blocks]).numpy()


def _pr_curves(probabilities: Probabilities, dataset: Dataset) -> list[Message]:
    classes, labels = dataset.schema.classes[:MAX_CURVES], dataset.rows.test_labels.numpy()
    description = (
        f"{len(labels):,} test rows, this class against all others, at {THRESHOLDS} thresholds"
    )
    return [
        pr_curve(
            f"PR/{name}",
            confusion_at_thresholds(probabilities[:, index], labels == index),
            description,
        )
        for index, name in enumerate(classes)
    ]


def _regions(model: SimpleNet, dataset: Dataset) -> list[Message]:
    """Plot decision regions if the network has two numeric features."""
    schema, rows = dataset.schema, dataset.rows
    if schema.n_features != 2 or schema.n_inputs != 2:  # noqa: PLR2004 - a plane
        return []
    axes = axis_ranges(rows.test_features)
    png = plot_regions(model, rows.test_features, rows.test_labels, axes)
    names = [_escape(feature.name) for feature in schema.features]
    ranges = [f"{low:.4g} to {high:.4g}" for low, high in axes]
    colours = [
        f"{colour} {_escape(name)}" for name, colour in zip(schema.classes, COLOURS, strict=False)
    ]
    description = (
        f"Horizontal axis: **{names[0]}**, {ranges[0]}; vertical axis: **{names[1]}**, "
        f"{ranges[1]}. Regions have the colour of the predicted class, dots that of a test row's "
        f"label: {', '.join(colours)}."
    )
    return [image("Decision regions", png, (WIDTH, HEIGHT), description)]


def _diagrams(probabilities: Probabilities, dataset: Dataset) -> list[Message]:
    """Draw calibration and, of few classes, the confusion matrix of the test rows."""
    from trainer.loggers.diagrams import MAX_CLASSES, SIZE, draw_calibration, draw_confusion

    classes, labels = dataset.schema.classes, dataset.rows.test_labels.numpy()
    names, rows = [_escape(name) for name in classes], f"{len(labels):,} test rows"
    chosen = probabilities.argmax(axis=1)
    if len(classes) == 2:  # noqa: PLR2004 - one probability says all
        confidences, is_right = probabilities[:, 1], labels == 1
        name = classes[1] if classes[1].isascii() else "the second class"
        axes = f"predicted probability of {name}", f"share of {name}"
        what = f"the predicted probability of **{names[1]}**, and the share of rows that have it"
    else:
        confidences, is_right = probabilities.max(axis=1), labels == chosen
        axes = "probability of the predicted class", "share that is right"
        what = "the probability of the predicted class, and the share of rows where it is right"
    png = draw_calibration(confidences.astype(np.float64), is_right, axes)
    description = (
        f"{rows} in bins by {what}. On the diagonal they are equal; larger dots have more rows."
    )
    found = [image("Calibration", png, SIZE, description)]
    if len(classes) <= MAX_CLASSES:
        counts = confusion_matrix(labels, chosen, len(classes))
        description = (
            f"{rows} by true class (rows) and predicted class (columns), in this order: "
            f"{', '.join(names)}. A cell is darker the larger its share of the true class."
        )
        found.append(image("Confusion matrix", draw_confusion(counts, classes), SIZE, description))
    return found
