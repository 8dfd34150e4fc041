"""Decision regions of a network of two numbers, as a picture.

In: a network and test rows. Out: pixels as places in ``PALETTE``: each point in the colour of the
class that it is given, paler where the network is less sure, and test rows as dots in the colour
of their own class. No errors.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

if TYPE_CHECKING:
    import numpy.typing as npt

    from trainer.model import SimpleNet

    Range = tuple[float, float]
    Places = npt.NDArray[np.int64]

WIDTH, HEIGHT = 480, 360
COLOURS = {  # distinct to the colour-blind (Okabe and Ito, Color Universal Design, 2008)
    "blue": (0, 114, 178),
    "orange": (230, 159, 0),
    "green": (0, 158, 115),
    "pink": (204, 121, 167),
    "vermilion": (213, 94, 0),
    "sky blue": (86, 180, 233),
}
_CELL = 6  # pixels: regions are drawn coarsely, so that they are drawn soon
_MARGIN = 0.05  # of a range, on either side
_MOST_DOTS = 500
_SHADES = 8  # from pale to strong; the strongest is one more


def _mix_colours() -> npt.NDArray[np.uint8]:
    """All shades of each colour of a class, then the colours themselves, then white."""
    pure = np.array(list(COLOURS.values()), np.float64)  # (colours, 3)
    depth = (0.2 + 0.4 * np.arange(_SHADES + 1) / _SHADES)[:, None]  # (shades, 1)
    shades = 255 * (1 - depth) + pure[:, None] * depth  # (colours, shades, 3)
    return np.concatenate((shades.reshape(-1, 3), pure, [[255.0] * 3])).round().astype(np.uint8)


PALETTE = _mix_colours()
_PURE = len(COLOURS) * (_SHADES + 1)  # where in it the colours themselves begin
_WHITE = len(PALETTE) - 1


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
        ``(HEIGHT, WIDTH)``; the first feature grows to the right, the second upwards.
    """
    spans = ranges_of(features)
    cells = _paint(model, spans)
    pixels = cells.repeat(_CELL, axis=0).repeat(_CELL, axis=1)
    places = _locate(features[:_MOST_DOTS].double().numpy(), spans)
    colours = _PURE + labels[:_MOST_DOTS].numpy() % len(COLOURS)
    _put_squares(pixels, places, 3, np.full(len(colours), _WHITE))
    _put_squares(pixels, places, 2, colours)
    return pixels


def _put_squares(
    pixels: npt.NDArray[np.uint8],
    places: tuple[Places, Places],
    reach: int,
    colours: Places,
) -> None:
    """Put a square of one colour around each place, ``reach`` pixels to either side."""
    aside = np.arange(-reach, reach + 1)
    columns = np.clip(places[0][:, None] + aside, 0, WIDTH - 1)  # (dots, side)
    rows = np.clip(places[1][:, None] + aside, 0, HEIGHT - 1)
    pixels[rows[:, :, None], columns[:, None, :]] = colours[:, None, None]


def _locate(points: npt.NDArray[np.float64], spans: tuple[Range, Range]) -> tuple[Places, Places]:
    """Columns and rows of pixels of points, ``(rows, 2)``."""
    (left, right), (bottom, top) = spans
    x = (points[:, 0] - left) / (right - left) * (WIDTH - 1)
    y = (top - points[:, 1]) / (top - bottom) * (HEIGHT - 1)
    return x.round().astype(np.int64), y.round().astype(np.int64)


@torch.inference_mode()
def _paint(model: SimpleNet, spans: tuple[Range, Range]) -> npt.NDArray[np.uint8]:
    """Colour each cell as the network answers in its middle, ``(rows, columns)``."""
    rows, columns = HEIGHT // _CELL, WIDTH // _CELL
    (left, right), (bottom, top) = spans
    x = left + (right - left) * (torch.arange(columns, dtype=torch.float64) + 0.5) / columns
    y = top - (top - bottom) * (torch.arange(rows, dtype=torch.float64) + 0.5) / rows
    grid = torch.cartesian_prod(y, x).flip(1).float().nan_to_num()  # (cells, 2)
    sure, classes = model(grid).softmax(dim=1).max(dim=1)  # (cells,) each
    steps = (sure.nan_to_num().double().numpy() * _SHADES).round()  # (cells,)
    painted = classes.numpy() % len(COLOURS) * (_SHADES + 1) + steps
    return np.asarray(painted.reshape(rows, columns), np.uint8)
