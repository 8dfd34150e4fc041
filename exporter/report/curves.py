"""Draw ROC and precision-recall curves: of the second of two classes, of each of a few."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

from exporter.report.drawing import UNIT_X, UNIT_Y
from trainer.evaluation.curves import precision_recall_curve, roc_curve

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy as np
    import numpy.typing as npt

    from trainer.evaluation.curves import Curve

Kind = Literal["roc", "precision-recall"]

MAX_DRAWN: Final = 6  # classes; more curves cover each other, and their areas are in the table
_TWO: Final = 2
_APART: Final = 1.5  # user units between two points that are drawn
_CURVES: Final = {"roc": roc_curve, "precision-recall": precision_recall_curve}


@dataclass(frozen=True)
class Line:
    """The curve of a class."""

    style: int  # colour and dashes
    name: str  # of the class
    path: str
    level: float | None  # y coordinate of what guessing gives; None where that is the diagonal
    area: float
    baseline: float  # the area that guessing gives


@dataclass(frozen=True)
class Plot:
    """Curves of one kind."""

    lines: tuple[Line, ...]  # empty where there are too many classes
    areas: tuple[float | None, ...]  # of each class; None where it has no curve


def draw_curves(
    kind: Kind,
    names: tuple[str, ...],
    truth: npt.NDArray[np.int64],
    probabilities: npt.NDArray[np.float64],
) -> Plot:
    """Draw the curves of labels ``(rows,)`` and probabilities ``(rows, classes)``."""
    make = _CURVES[kind]
    curves = [make(truth == at, probabilities[:, at]) for at in range(len(names))]
    drawn = range(1, 2) if len(names) == _TWO else range(len(names))
    lines = (
        Line(
            style=at,
            name=names[at],
            path=_draw(curve, steps=kind == "precision-recall"),
            level=None if kind == "roc" else UNIT_Y.position(curve.baseline),
            area=curve.area,
            baseline=curve.baseline,
        )
        for at in drawn
        if (curve := curves[at])
    )
    areas = tuple(curve.area if curve else None for curve in curves)
    return Plot(tuple(lines) if len(drawn) <= MAX_DRAWN else (), areas)


def _draw(curve: Curve, *, steps: bool) -> str:
    """Draw a curve as an SVG path; in steps where values between the points are not reached."""
    points = list(_spread(curve))
    if not steps:
        return "M" + "L".join(f"{x:g} {y:g}" for x, y in points)
    (x, y), *others = [(UNIT_X.position(0.0), points[0][1]), *points]
    return f"M{x:g} {y:g}" + "".join(f"V{y:g}H{x:g}" for x, y in others)


def _spread(curve: Curve) -> Iterator[tuple[float, float]]:
    """Choose the points that differ on the drawing, the first and the last among them."""
    last: tuple[float, float] | None = None
    for at, (x, y) in enumerate(zip(curve.x.tolist(), curve.y.tolist(), strict=True)):
        point = UNIT_X.position(x), UNIT_Y.position(y)
        is_end = at in {0, len(curve.x) - 1}
        if is_end or last is None or max(abs(point[0] - last[0]), abs(point[1] - last[1])) > _APART:
            yield point
            last = point
