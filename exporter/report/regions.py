"""Decision regions of a model with two features, with the rows it was trained on.

In: the evidence. Out: what the template draws: paths, markers, axes. No errors.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from exporter.report.drawing import Scale, short, widen

if TYPE_CHECKING:
    import numpy.typing as npt

    from exporter.report.evidence import Evidence
    from runtime.schema.features import Feature

SIZE, LEFT, BOTTOM, EDGE = 460, 52, 44, 10  # user units of the drawing and its margins
CELLS = 150  # a side
MOST_ROWS = 800
KINDS = 8  # colours and shapes before they repeat
_BEYOND = 0.05  # of the range, on each side
# Outlines of markers around the origin, one a class: told apart without colour.
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
    """A place on an axis and the number there."""

    place: float
    text: str


@dataclass(frozen=True)
class Regions:
    """What is drawn.

    Attributes:
        areas: kind of colour, name and path of each class that is answered somewhere.
        rows: kind of colour, name, number and path of the training rows of each class.
        box: x, y, width and height of the range seen in training.
        across: ticks of the first feature.
        up: ticks of the second feature.
        shown: training rows that are drawn.
        of: training rows that are known.
    """

    areas: tuple[tuple[int, str, str], ...]
    rows: tuple[tuple[int, str, int, str], ...]
    box: tuple[float, float, float, float]
    across: tuple[Tick, ...]
    up: tuple[Tick, ...]
    shown: int
    of: int


def draw_regions(evidence: Evidence) -> Regions | None:
    """Draw the classes over the plane of two features; None for any other number of features."""
    schema = evidence.manifest.schema
    if schema.n_inputs != 2 or schema.imputed_inputs or not schema.is_numeric:  # noqa: PLR2004 - a plane
        return None
    first, second = schema.features
    across, up = _scale(first, LEFT, SIZE - EDGE), _scale(second, SIZE - BOTTOM, EDGE)
    train = evidence.train
    labels = evidence.answer(_grid(across, up)).label.reshape(CELLS, CELLS)
    rows = _rows(evidence, across, up)
    left, right = across.place(first.minimum), across.place(first.maximum)
    top, bottom = up.place(second.maximum), up.place(second.minimum)
    return Regions(
        areas=tuple(
            (at % KINDS, name, _area(labels == at))
            for at, name in enumerate(schema.classes)
            if (labels == at).any()
        ),
        rows=rows,
        box=(left, top, round(right - left, 1), round(bottom - top, 1)),
        across=tuple(Tick(across.place(value), short(value)) for value in across.ticks()),
        up=tuple(Tick(up.place(value), short(value)) for value in up.ticks()),
        shown=sum(many for _, _, many, _ in rows),
        of=0 if train is None else len(train.labels),
    )


def _scale(feature: Feature, start: float, end: float) -> Scale:
    low, high = widen(feature.minimum, feature.maximum, _BEYOND)
    return Scale(low, high, start, end)


def _grid(across: Scale, up: Scale) -> npt.NDArray[np.float32]:
    """Centres of the cells, row by row from the top, ``(CELLS * CELLS, 2)`` float32."""
    share = (np.arange(CELLS) + 0.5) / CELLS
    first = across.low + share * (across.high - across.low)
    second = up.high - share * (up.high - up.low)
    mesh = np.meshgrid(first, second)
    return np.stack([each.ravel() for each in mesh], axis=1).astype(np.float32)


def _area(mask: npt.NDArray[np.bool_]) -> str:
    """Path of the cells where ``(CELLS, CELLS)`` is true: one rectangle for each run in a row.

    Rows with the same runs as the row above make the rectangle taller.
    """
    wide, tall = (SIZE - EDGE - LEFT) / CELLS, (SIZE - BOTTOM - EDGE) / CELLS
    pieces: list[str] = []
    start = 0
    for row in range(1, CELLS + 1):
        if row < CELLS and np.array_equal(mask[row], mask[start]):
            continue
        edges = np.flatnonzero(np.diff(np.concatenate([[0], mask[start].astype(np.int8), [0]])))
        for left, right in edges.reshape(-1, 2):
            x, y = LEFT + left * wide, EDGE + start * tall
            height = (row - start) * tall
            pieces.append(f"M{x:.1f} {y:.1f}h{(right - left) * wide:.1f}v{height:.1f}H{x:.1f}z")
        start = row
    return "".join(pieces)


def _rows(evidence: Evidence, across: Scale, up: Scale) -> tuple[tuple[int, str, int, str], ...]:
    """Paths of the first training rows, class by class."""
    if evidence.train is None:
        return ()
    features = evidence.train.features[:MOST_ROWS]
    labels = evidence.train.labels[:MOST_ROWS]
    drawn = []
    for at, name in enumerate(evidence.manifest.schema.classes):
        chosen = features[(labels == at) & np.isfinite(features).all(axis=1)].tolist()
        path = "".join(f"M{across.place(x)} {up.place(y)}{MARKERS[at % KINDS]}" for x, y in chosen)
        if chosen:
            drawn.append((at % KINDS, name, len(chosen), path))
    return tuple(drawn)
