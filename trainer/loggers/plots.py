"""Compute PR curves and plot decision regions for TensorBoard.

A point of the plot has the colour of its predicted class, paler where the network is less certain;
test rows are dots in the colour of their own class.
"""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import numpy as np
import PIL.Image
import torch

if TYPE_CHECKING:
    import numpy.typing as npt

    from trainer.model import SimpleNet

    Range = tuple[float, float]
    Positions = npt.NDArray[np.int64]

THRESHOLDS = 201  # as in TensorBoard
_EPSILON = 1e-7  # as in tensorboard/plugins/pr_curve/summary.py: no division by zero

WIDTH, HEIGHT = 360, 270  # about what TensorBoard shows
COLOURS = {  # distinct to the colour-blind (Okabe and Ito, Color Universal Design, 2008)
    "blue": (0, 114, 178),
    "orange": (230, 159, 0),
    "green": (0, 158, 115),
    "pink": (204, 121, 167),
    "vermilion": (213, 94, 0),
    "sky blue": (86, 180, 233),
}
_CELL = 6  # pixels: coarse, so that the network is evaluated at few points
_MARGIN = 0.05  # of a range, on either side
_MAX_DOTS = 500
_SHADES = 8  # from pale to strong; the strongest is one more
_FASTEST = 1  # zlib's level: flat colours compress well at any


def confusion_at_thresholds(
    probabilities: npt.NDArray[np.float32], is_class: npt.NDArray[np.bool_]
) -> npt.NDArray[np.float32]:
    """Count the confusion of one class against all others at each threshold.

    Takes ``(rows,)`` probabilities of the class, and whether it is the row's label; a row is
    predicted as the class at or above the threshold. Returns true and false positives, true and
    false negatives, precision and recall, ``(6, THRESHOLDS)``.
    """
    bins = (np.clip(probabilities, 0, 1) * (THRESHOLDS - 1)).astype(np.int64)  # rounded down
    positives, negatives = (
        np.bincount(bins[chosen], minlength=THRESHOLDS)[::-1].cumsum()[::-1].astype(np.float64)
        for chosen in (is_class, ~is_class)
    )  # (thresholds,) each: rows at or above it
    false_negatives, true_negatives = positives[0] - positives, negatives[0] - negatives
    precision = positives / np.maximum(_EPSILON, positives + negatives)
    recall = positives / np.maximum(_EPSILON, positives + false_negatives)
    rows = positives, negatives, true_negatives, false_negatives, precision, recall
    return np.stack(rows).astype(np.float32)


def axis_ranges(features: torch.Tensor) -> tuple[Range, Range]:
    """Return the range of both axes: that of ``(rows, 2)`` features, and a margin."""
    low, high = (end.double() for end in features.aminmax(dim=0))  # (2,) each
    margin = (high - low) * _MARGIN
    margin[margin == 0] = 1.0
    (left, bottom), (right, top) = (low - margin).tolist(), (high + margin).tolist()
    return (left, right), (bottom, top)


def plot_regions(
    model: SimpleNet,
    features: torch.Tensor,
    labels: torch.Tensor,
    ranges: tuple[Range, Range],
) -> bytes:
    """Plot the decision regions of a network of two features as a PNG file.

    ``features`` ``(rows, 2)`` float32 and ``labels`` ``(rows,)`` are those of the test rows; the
    first feature increases to the right, the second upwards, over ``ranges``.
    """
    cells = _predict_cells(model, ranges)
    rows, columns = cells.shape
    enlarged = np.broadcast_to(cells[:, None, :, None], (rows, _CELL, columns, _CELL))
    pixels = enlarged.reshape(HEIGHT, WIDTH)  # a copy
    centres = _to_pixels(features[:_MAX_DOTS].double().numpy(), ranges)
    colours = _PURE + labels[:_MAX_DOTS].numpy() % len(COLOURS)
    _draw_squares(pixels, centres, 3, np.full(len(colours), _WHITE))
    _draw_squares(pixels, centres, 2, colours)
    return encode_png(pixels, _PALETTE)


def encode_png(pixels: npt.NDArray[np.uint8], palette: npt.NDArray[np.uint8]) -> bytes:
    """Encode ``(height, width)`` indices into a ``(colours, 3)`` palette of RGB as a PNG file."""
    picture = PIL.Image.fromarray(pixels)
    picture.putpalette(palette.tobytes())
    stream = io.BytesIO()
    picture.save(stream, "PNG", compress_level=_FASTEST)
    return stream.getvalue()


def _build_palette() -> npt.NDArray[np.uint8]:
    """Build the palette: all shades of each class's colour, the colours themselves, white."""
    pure = np.array(list(COLOURS.values()), np.float64)  # (colours, 3)
    depth = (0.2 + 0.4 * np.arange(_SHADES + 1) / _SHADES)[:, None]  # (shades, 1)
    shades = 255 * (1 - depth) + pure[:, None] * depth  # (colours, shades, 3)
    return np.concatenate((shades.reshape(-1, 3), pure, [[255.0] * 3])).round().astype(np.uint8)


_PALETTE = _build_palette()
_PURE = len(COLOURS) * (_SHADES + 1)  # where the colours themselves begin in it
_WHITE = len(_PALETTE) - 1


def _draw_squares(
    pixels: npt.NDArray[np.uint8],
    centres: tuple[Positions, Positions],
    radius: int,
    colours: Positions,
) -> None:
    """Draw a square of one colour around each centre, ``radius`` pixels to either side."""
    offsets = np.arange(-radius, radius + 1)
    columns = np.clip(centres[0][:, None] + offsets, 0, WIDTH - 1)  # (dots, side)
    rows = np.clip(centres[1][:, None] + offsets, 0, HEIGHT - 1)
    pixels[rows[:, :, None], columns[:, None, :]] = colours[:, None, None]


def _to_pixels(
    points: npt.NDArray[np.float64], ranges: tuple[Range, Range]
) -> tuple[Positions, Positions]:
    """Convert ``(rows, 2)`` points to the columns and rows of pixels."""
    (left, right), (bottom, top) = ranges
    x = (points[:, 0] - left) / (right - left) * (WIDTH - 1)
    y = (top - points[:, 1]) / (top - bottom) * (HEIGHT - 1)
    return x.round().astype(np.int64), y.round().astype(np.int64)


@torch.inference_mode()
def _predict_cells(model: SimpleNet, ranges: tuple[Range, Range]) -> npt.NDArray[np.uint8]:
    """Colour each cell, ``(rows, columns)``, by the prediction at its centre."""
    rows, columns = HEIGHT // _CELL, WIDTH // _CELL
    (left, right), (bottom, top) = ranges
    x = left + (right - left) * (torch.arange(columns, dtype=torch.float64) + 0.5) / columns
    y = top - (top - bottom) * (torch.arange(rows, dtype=torch.float64) + 0.5) / rows
    grid = torch.cartesian_prod(y, x).flip(1).float().nan_to_num_()  # (cells, 2)
    logits = model(grid).T  # (classes, cells): torch's softmax is slow over a short last dimension
    probabilities, classes = logits.softmax(dim=0).max(dim=0)  # (cells,) each
    shades = (probabilities.nan_to_num_() * _SHADES).round_().numpy()  # (cells,)
    cells = classes.numpy() % len(COLOURS) * (_SHADES + 1) + shades
    return np.asarray(cells.reshape(rows, columns), np.uint8)
