"""Draw the confusion matrix and the calibration curve of the test rows for TensorBoard."""

from __future__ import annotations

import io
import unicodedata
from typing import TYPE_CHECKING

import numpy as np
import PIL.Image
import PIL.ImageDraw
import PIL.ImageFont

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    Font = PIL.ImageFont.FreeTypeFont | PIL.ImageFont.ImageFont

SIZE = (480, 400)  # pixels, width and height
MAX_CLASSES = 12  # in a confusion matrix: more cells cannot be read
BINS = 10  # of a calibration curve
_BLACK, _GREY, _LIGHT, _BLUE = (30, 30, 30), (110, 110, 110), (225, 225, 225), (0, 114, 178)
_LEFT, _TOP, _RIGHT, _BOTTOM = 100, 40, 465, 340  # of the plot
_GAP = 6  # pixels between text and plot
_FASTEST = 1  # zlib's level
_DARK = 0.55  # a share from which its text is white


def draw_confusion(counts: npt.NDArray[np.int64], names: Sequence[str]) -> bytes:
    """Draw a confusion matrix as a PNG file.

    ``counts`` are ``(classes, classes)``, by true and by predicted class; a cell is the darker the
    larger its share of the true class.
    """
    picture, draw = _canvas()
    size = len(names)
    wide, high = (_RIGHT - _LEFT) / size, (_BOTTOM - _TOP) / size
    font = _font(18 if size <= 6 else 12)  # noqa: PLR2004 - few classes leave room
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    columns, rows = _label_classes(names, font, wide - _GAP, _LEFT - 2 * _GAP)
    for row in range(size):
        x, y = _LEFT + row * wide, _TOP + row * high
        draw.text((_LEFT - _GAP, y + high / 2), rows[row], _BLACK, font, anchor="rm")
        draw.text((x + wide / 2, _BOTTOM + _GAP), columns[row], _BLACK, font, anchor="ma")
        for column in range(size):
            x, share = _LEFT + column * wide, float(shares[row, column])
            colour = tuple(round(255 + share * (part - 255)) for part in _BLUE)
            draw.rectangle((x, y, x + wide - 1, y + high - 1), fill=colour)
            ink = (255, 255, 255) if share > _DARK else _BLACK
            text = f"{counts[row, column]:,}"
            draw.text((x + wide / 2, y + high / 2), text, ink, font, anchor="mm")
    _label_axes(draw, "predicted class", "true class")
    return _png(picture)


def draw_calibration(
    confidences: npt.NDArray[np.float64], is_right: npt.NDArray[np.bool_], labels: tuple[str, str]
) -> bytes:
    """Draw a calibration curve as a PNG file.

    ``confidences`` are ``(rows,)`` predicted probabilities of an outcome, ``is_right`` whether it
    is a row's outcome, and ``labels`` of the horizontal and the vertical axis.
    """
    picture, draw = _canvas()
    font = _font(14)

    def at(x: float, y: float) -> tuple[float, float]:
        return _LEFT + x * (_RIGHT - _LEFT), _BOTTOM - y * (_BOTTOM - _TOP)

    for tick in np.linspace(0, 1, 6).tolist():
        draw.line((*at(tick, 0), *at(tick, 1)), _LIGHT)
        draw.line((*at(0, tick), *at(1, tick)), _LIGHT)
        x, y = at(tick, 0)
        draw.text((x, y + 5), f"{tick:.1f}", _GREY, font, anchor="ma")
        x, y = at(0, tick)
        draw.text((x - 6, y), f"{tick:.1f}", _GREY, font, anchor="rm")
    draw.line((*at(0, 0), *at(1, 1)), _GREY)
    bins = np.minimum((confidences * BINS).astype(np.int64), BINS - 1)
    rows = np.bincount(bins, minlength=BINS)
    filled = rows > 0
    means = np.bincount(bins, confidences, BINS)[filled] / rows[filled]
    shares = np.bincount(bins, is_right, BINS)[filled] / rows[filled]
    points = [at(*point) for point in zip(means.tolist(), shares.tolist(), strict=True)]
    draw.line(points, _BLUE, 2)
    sizes = 3 + 9 * np.sqrt(rows[filled] / rows.max())
    for (x, y), size in zip(points, sizes.tolist(), strict=True):
        draw.ellipse((x - size, y - size, x + size, y + size), _BLUE, (255, 255, 255))
    _label_axes(draw, *labels)
    return _png(picture)


def _canvas() -> tuple[PIL.Image.Image, PIL.ImageDraw.ImageDraw]:
    picture = PIL.Image.new("RGB", SIZE, (255, 255, 255))
    return picture, PIL.ImageDraw.Draw(picture)


def _font(size: int) -> Font:
    return PIL.ImageFont.load_default(size)


def _label_axes(draw: PIL.ImageDraw.ImageDraw, horizontal: str, vertical: str) -> None:
    font = _font(16)
    horizontal = _fit(_to_ascii(horizontal), font, _RIGHT - _LEFT)
    vertical = _fit(_to_ascii(vertical), font, _RIGHT)
    draw.text(((_LEFT + _RIGHT) / 2, SIZE[1] - 8), horizontal, _BLACK, font, anchor="ms")
    draw.text((8, 8), vertical, _BLACK, font, anchor="la")


def _label_classes(
    names: Sequence[str], font: Font, column_width: float, row_width: float
) -> tuple[list[str], list[str]]:
    """Label columns and rows within a width in pixels; columns by number if a name is too long.

    The font has ASCII letters only: other names are numbers, in the order of the description.
    """
    numbers = [str(number) for number in range(1, len(names) + 1)]
    plain = list(map(_to_ascii, names))
    if all(plain) and max(map(font.getlength, plain)) <= column_width:
        return plain, [_fit(name, font, row_width) for name in plain]
    rows = [f"{number} {name}" for number, name in zip(numbers, plain, strict=True)]
    return numbers, [_fit(name, font, row_width) for name in rows]


def _to_ascii(name: str) -> str:
    """Remove accents; empty where more than that is not ASCII."""
    letters = unicodedata.normalize("NFKD", name)
    plain = "".join(letter for letter in letters if not unicodedata.combining(letter))
    return plain if plain.isascii() and plain.isprintable() else ""


def _fit(text: str, font: Font, width: float) -> str:
    """Cut a text to a width in pixels."""
    if font.getlength(text) <= width:
        return text
    while text and font.getlength(f"{text}...") > width:
        text = text[:-1]
    return f"{text}..."


def _png(picture: PIL.Image.Image) -> bytes:
    stream = io.BytesIO()
    picture.save(stream, "PNG", compress_level=_FASTEST)
    return stream.getvalue()
