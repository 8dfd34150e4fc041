"""Decision regions of a network of two numbers, as a picture.

In: a network and test rows. Out: pixels: each point in the colour of the class that it is given,
paler where the network is less sure, and test rows as dots in the colour of their own class. No
errors.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

if TYPE_CHECKING:
    import numpy.typing as npt

    from trainer.model import SimpleNet

    Range = tuple[float, float]

WIDTH, HEIGHT = 480, 360
COLOURS = {  # distinct to the colour-blind (Okabe and Ito, Color Universal Design, 2008)
    "blue": (0, 114, 178),
    "orange": (230, 159, 0),
    "green": (0, 158, 115),
    "pink": (204, 121, 167),
    "vermilion": (213, 94, 0),
    "sky blue": (86, 180, 233),
}
_CELL = 4  # pixels: regions are drawn coarsely, so that the file stays small
_MARGIN = 0.05  # of a range, on either side
_MOST_DOTS = 500
_SHADES = 8


def ranges_of(features: torch.Tensor) -> tuple[Range, Range]:
    """Find what is drawn: the test rows and a margin.

    Args:
        features: ``(rows, 2)`` float32, finite.

    Returns:
        Lowest and highest number of both axes.
    """
    low, high = (end.double() for end in features.aminmax(dim=0))  # (2,) each
    margin = (high - low) * _MARGIN
    margin[margin == 0] = 1.0
    (left, bottom), (right, top) = (low - margin).tolist(), (high + margin).tolist()
    return (left, right), (bottom, top)


def draw_regions(
    model: SimpleNet, features: torch.Tensor, labels: torch.Tensor
) -> npt.NDArray[np.uint8]:
    """Draw.

    Args:
        model: of two features, on the CPU.
        features: of the test rows, ``(rows, 2)`` float32.
        labels: of the test rows, ``(rows,)`` int64.

    Returns:
        ``(HEIGHT, WIDTH, 3)``; the first feature grows to the right, the second upwards.
    """
    spans = ranges_of(features)
    palette = np.array(list(COLOURS.values()), np.float64)  # (colours, 3)
    cells = _paint(model, spans, palette)
    pixels = cells.repeat(_CELL, axis=0).repeat(_CELL, axis=1)
    columns, rows = _locate(features[:_MOST_DOTS].double().numpy(), spans)
    colours = palette[labels[:_MOST_DOTS].numpy() % len(palette)].astype(np.uint8)
    for x, y, colour in zip(columns, rows, colours, strict=True):
        pixels[max(0, y - 3) : y + 4, max(0, x - 3) : x + 4] = 255
        pixels[max(0, y - 2) : y + 3, max(0, x - 2) : x + 3] = colour
    return pixels


def _locate(
    points: npt.NDArray[np.float64], spans: tuple[Range, Range]
) -> tuple[list[int], list[int]]:
    """Columns and rows of pixels of points, ``(rows, 2)``."""
    (left, right), (bottom, top) = spans
    x = (points[:, 0] - left) / (right - left) * (WIDTH - 1)
    y = (top - points[:, 1]) / (top - bottom) * (HEIGHT - 1)
    return x.round().astype(int).tolist(), y.round().astype(int).tolist()


@torch.inference_mode()
def _paint(
    model: SimpleNet, spans: tuple[Range, Range], palette: npt.NDArray[np.float64]
) -> npt.NDArray[np.uint8]:
    """Colour each cell as the network answers in its middle, ``(rows, columns, 3)``."""
    rows, columns = HEIGHT // _CELL, WIDTH // _CELL
    (left, right), (bottom, top) = spans
    x = left + (right - left) * (torch.arange(columns, dtype=torch.float64) + 0.5) / columns
    y = top - (top - bottom) * (torch.arange(rows, dtype=torch.float64) + 0.5) / rows
    grid = torch.cartesian_prod(y, x).flip(1).float().nan_to_num()  # (cells, 2)
    sure, classes = model(grid).softmax(dim=1).max(dim=1)  # (cells,) each
    steps = (sure.nan_to_num().double().numpy() * _SHADES).round()  # (cells,)
    depth = (0.2 + 0.4 * steps / _SHADES)[:, None]  # (cells, 1)
    colours = palette[classes.numpy() % len(palette)]  # (cells, 3)
    painted = (255 * (1 - depth) + colours * depth).round().reshape(rows, columns, 3)
    return np.asarray(painted, np.uint8)
