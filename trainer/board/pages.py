"""What TensorBoard shows of a fit once it has ended: text, hparams, PR curves, graph, regions.

In: the fitted network, its rows and options. Out: records of an event file. Raises nothing of ours.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from trainer.board.graph import graph_record
from trainer.board.hparams import compare
from trainer.board.png import write_png
from trainer.board.precision import THRESHOLDS, count_hits
from trainer.board.regions import COLOURS, HEIGHT, PALETTE, WIDTH, draw_regions, ranges_of
from trainer.board.summaries import picture, precision_recall, text, to_record

if TYPE_CHECKING:
    from collections.abc import Mapping

    from runtime.bundle.manifest import Scalar
    from trainer.checkpoint import Fit
    from trainer.data import Dataset
    from trainer.fit import Fitted
    from trainer.model import SimpleNet

MOST_CLASSES = 50  # with a curve of their own: each takes 5 kB and a place on the page
_ROWS_AT_ONCE = 8192


def draw_pages(this: Fit, dataset: Dataset, fitted: Fitted) -> bytes:
    """Draw all that is drawn once.

    Args:
        this: which fit it was.
        dataset: its rows.
        fitted: what came of it.

    Returns:
        Records, one after the other.
    """
    options = {**this.options, "hidden": ",".join(map(str, this.hidden)), "seed": this.seed}
    values = [
        text("Configuration", _tabulate("option", options)),
        text("Data", _tabulate("", _count(dataset) | {"sha256": this.data_digest})),
        text("Versions", _tabulate("package", this.versions)),
        *compare(options, _metrics(fitted)),
        *_precision_recall(fitted.model, dataset),
        *_regions(fitted.model, dataset),
    ]
    return graph_record(fitted.model) + to_record(values, fitted.last.index)


def _tabulate(head: str, cells: Mapping[str, object]) -> str:
    """A table in Markdown."""
    lines = [f"| {head} | value |", "|---|---|"]
    lines += [f"| {_escape(name)} | {_escape(str(cell))} |" for name, cell in cells.items()]
    return "\n".join(lines)


def _escape(cell: str) -> str:
    """Names of columns and classes are anybody's: no mark of Markdown counts in them."""
    plain = " ".join(cell.split())
    return "".join(f"\\{letter}" if letter in r"\`*_{}[]<>()#|!" else letter for letter in plain)


def _count(dataset: Dataset) -> dict[str, Scalar]:
    schema, rows = dataset.schema, dataset.rows
    return {
        "target": schema.target,
        "features": ", ".join(feature.name for feature in schema.features),
        "classes": ", ".join(schema.classes),
        "training rows": len(rows.train_labels),
        "test rows": len(rows.test_labels),
    }


def _metrics(fitted: Fitted) -> dict[str, float | None]:
    """Of the epoch that the network is of."""
    last = fitted.last
    held = last.validation
    return {
        "accuracy": last.accuracy,
        "loss": last.loss,
        "test_loss": last.test_loss,
        "validation_loss": held.loss if held else None,
        "validation_accuracy": held.accuracy if held else None,
    }


@torch.inference_mode()
def _precision_recall(model: SimpleNet, dataset: Dataset) -> list[bytes]:
    rows, classes = dataset.rows, dataset.schema.classes[:MOST_CLASSES]
    blocks = torch.split(rows.test_features, _ROWS_AT_ONCE)
    probabilities = torch.cat(
        [model(block).softmax(dim=1)[:, : len(classes)] for block in blocks]
    ).numpy()  # (rows, classes)
    labels = rows.test_labels.numpy()
    said = (
        f"of {len(labels):,} test rows, this class against all others, at {THRESHOLDS} thresholds"
    )
    return [
        precision_recall(f"PR/{name}", count_hits(probabilities[:, place], labels == place), said)
        for place, name in enumerate(classes)
    ]


def _regions(model: SimpleNet, dataset: Dataset) -> list[bytes]:
    """A picture where there are two numbers to draw it over."""
    schema, rows = dataset.schema, dataset.rows
    if schema.n_features != 2 or schema.n_inputs != 2:  # noqa: PLR2004 - a plane
        return []
    pixels = draw_regions(model, rows.test_features, rows.test_labels)
    names = [_escape(feature.name) for feature in schema.features]
    spans = [f"{low:.4g} to {high:.4g}" for low, high in ranges_of(rows.test_features)]
    colours = [
        f"{colour} {_escape(name)}" for name, colour in zip(schema.classes, COLOURS, strict=False)
    ]
    said = (
        f"To the right **{names[0]}**, {spans[0]}; upwards **{names[1]}**, {spans[1]}. Regions "
        f"have the colour of the predicted class, dots that of a test row's own: "
        f"{', '.join(colours)}."
    )
    return [picture("Decision regions", write_png(pixels, PALETTE), (WIDTH, HEIGHT), said)]
