"""Decision regions of a model with two features, with its training rows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from exporter.report.drawing import Scale, format_number, widen

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy.typing as npt

    from runtime.schema.features import Feature, Float32Matrix, Schema
    from runtime.session import Outputs
    from trainer.data.dataset import LabelledRows

SIZE, LEFT, BOTTOM, EDGE = 460, 52, 44, 10  # user units of the drawing and its margins
CELLS = 150  # a side
MAX_ROWS = 800
STYLES = 8  # colours and shapes before they repeat
_PADDING = 0.05  # of the range, on each side
# Outlines of markers around the origin, one per class: distinguishable without colour.
MARKERS = (
    "m-2.6 0a2.6 2.6 0 1 0 5.2 0a2.6 2.6 0 1 0-5.2 0z",
    "m-2.4-2.4h4.8v4.8h-4.8z",
    "m0-3.2l3 5.4h-6z",
    "m0-3.4l3.4 3.4l-3.4 3.4l-3.4-3.4z",
    "m0 3.2l3-5.4h-6z",
    "m-3-1h2v-2h2v2h2v2h-2v2h-2v-2h-2z",
    "m-3.4-1.2h6.8v2.4h-6.8z",
    "m-1.2-3.4h2.4v6.8h-2.4z",
)


@dataclass(frozen=True)
class Tick:
    """A position on an axis and the number there."""

    position: float
    text: str


@dataclass(frozen=True)
class Regions:
    """The elements of the drawing."""

    areas: tuple[tuple[int, str, str], ...]  # style, name and path of each predicted class
    rows: tuple[tuple[int, str, int, str], ...]  # style, name, count, path of the training rows
    box: tuple[float, float, float, float]  # x, y, width and height of the range in training
    x_ticks: tuple[Tick, ...]  # of the first feature
    y_ticks: tuple[Tick, ...]  # of the second feature
    shown: int  # training rows drawn
    total: int  # training rows stored


def draw_regions(
    schema: Schema, run: Callable[[Float32Matrix], Outputs], train: LabelledRows | None
) -> Regions | None:
    """Draw the classes over the plane of two features; None for any other number of features."""
    if schema.n_inputs != 2 or schema.imputed_inputs or not schema.is_numeric:  # noqa: PLR2004 - a plane
        return None
    first, second = schema.features
    x, y = _scale(first, LEFT, SIZE - EDGE), _scale(second, SIZE - BOTTOM, EDGE)
    labels = run(_grid(x, y)).label.reshape(CELLS, CELLS)
    rows = _draw_rows(schema, train, x, y)
    left, right = x.position(first.minimum), x.position(first.maximum)
    top, bottom = y.position(second.maximum), y.position(second.minimum)
    return Regions(
        areas=tuple(
            (at % STYLES, name, _draw_area(labels == at))
            for at, name in enumerate(schema.classes)
            if (labels == at).any()
        ),
        rows=rows,
        box=(left, top, round(right - left, 1), round(bottom - top, 1)),
        x_ticks=tuple(Tick(x.position(value), format_number(value)) for value in x.ticks()),
        y_ticks=tuple(Tick(y.position(value), format_number(value)) for value in y.ticks()),
        shown=sum(count for _, _, count, _ in rows),
        total=0 if train is None else len(train.labels),
    )


def _scale(feature: Feature, start: float, end: float) -> Scale:
    low, high = widen(feature.minimum, feature.maximum, _PADDING)
    return Scale(low, high, start, end)


def _grid(x: Scale, y: Scale) -> npt.NDArray[np.float32]:
    """Return the centres of the cells, row by row from the top, ``(CELLS * CELLS, 2)`` float32."""
    share = (np.arange(CELLS) + 0.5) / CELLS
    first = x.low + share * (x.high - x.low)
    second = y.high - share * (y.high - y.low)
    mesh = np.meshgrid(first, second)
    return np.stack([each.ravel() for each in mesh], axis=1).astype(np.float32)


def _draw_area(mask: npt.NDArray[np.bool_]) -> str:
    """Draw the cells where ``(CELLS, CELLS)`` is true: one rectangle for each run in a row.

    Rows with the same runs as the row above make the rectangle taller.
    """
    wide, tall = (SIZE - EDGE - LEFT) / CELLS, (SIZE - BOTTOM - EDGE) / CELLS
    pieces: list[str] = []
    start = 0
    for row in range(1, CELLS + 1):
        if row < CELLS and np.array_equal(mask[row], mask[start]):
            continue
        edges = np.flatnonzero(np.diff(np.concatenate([[0], mask[start].astype(np.int8), [0]])))
        # Ends, not widths, are rounded: neighbours share them, and no seam shows.
        top, bottom = round(EDGE + start * tall, 1), round(EDGE + row * tall, 1)
        for left, right in (LEFT + edges.reshape(-1, 2) * wide).round(1).tolist():
            pieces.append(f"M{left:g} {top:g}H{right:g}V{bottom:g}H{left:g}z")
        start = row
    return "".join(pieces)


def _draw_rows(
    schema: Schema, train: LabelledRows | None, x: Scale, y: Scale
) -> tuple[tuple[int, str, int, str], ...]:
    """Draw the first training rows, class by class."""
    if train is None:
        return ()
    features, labels = train.features[:MAX_ROWS], train.labels[:MAX_ROWS]
    drawn = []
    for at, name in enumerate(schema.classes):
        chosen = features[(labels == at) & np.isfinite(features).all(axis=1)].tolist()
        marker = MARKERS[at % STYLES]
        path = "".join(f"M{x.position(a)} {y.position(b)}{marker}" for a, b in chosen)
        if chosen:
            drawn.append((at % STYLES, name, len(chosen), path))
    return tuple(drawn)
