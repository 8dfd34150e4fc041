"""Build the summaries that TensorBoard shows of a completed fit: all but the curves."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from trainer.evaluation.metrics import BLOCK_ROWS
from trainer.loggers.events import graph_record, hparams, image, pr_curve, summary_record, text
from trainer.loggers.plots import (
    COLOURS,
    HEIGHT,
    THRESHOLDS,
    WIDTH,
    axis_ranges,
    confusion_at_thresholds,
    plot_regions,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from runtime.bundle.manifest import Scalar
    from trainer.checkpoint.format import FitIdentity
    from trainer.checkpoint.state import Epoch, FitResult
    from trainer.data.dataset import Dataset
    from trainer.loggers.events import Message
    from trainer.model import SimpleNet

MAX_CURVES = 50  # classes with a PR curve: each takes 5 kB and space on the page


def final_records(this: FitIdentity, dataset: Dataset, fitted: FitResult) -> bytes:
    """Build all records that are written once, after the curves."""
    options = {**this.options, "hidden": ",".join(map(str, this.hidden)), "seed": this.seed}
    values = [
        text("Configuration", _format_table("option", options)),
        text("Data", _format_table("", _describe_data(dataset) | {"sha256": this.data_digest})),
        text("Versions", _format_table("package", this.versions)),
        *hparams(options, _metrics(fitted.last)),
        *_pr_curves(fitted.model, dataset),
        *_regions(fitted.model, dataset),
    ]
    return graph_record(fitted.model) + summary_record(values, fitted.last.index)


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
        "features": ", ".join(feature.name for feature in schema.features),
        "classes": ", ".join(schema.classes),
        "training rows": len(rows.train_labels),
        "test rows": len(rows.test_labels),
    }


def _metrics(last: Epoch) -> dict[str, float | None]:
    validation = last.validation
    return {
        "accuracy": last.accuracy,
        "loss": last.loss,
        "test_loss": last.test_loss,
        "validation_loss": validation.loss if validation else None,
        "validation_accuracy": validation.accuracy if validation else None,
    }


@torch.inference_mode()
def _pr_curves(model: SimpleNet, dataset: Dataset) -> list[Message]:
    rows, classes = dataset.rows, dataset.schema.classes[:MAX_CURVES]
    blocks = torch.split(rows.test_features, BLOCK_ROWS)
    probabilities = torch.cat(
        [model(block).softmax(dim=1)[:, : len(classes)] for block in blocks]
    ).numpy()  # (rows, classes)
    labels = rows.test_labels.numpy()
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
