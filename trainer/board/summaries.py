"""Single values of TensorBoard's tabs, and events that hold them.

In: arrays, texts and pictures. Out: ``Summary.Value`` messages, and records of an event file. What
a plugin expects of its tensors is said in ``tensorboard/plugins/NAME/summary_v2.py`` and
``metadata.py`` (of TensorBoard 2.21), the numbers of fields in its ``compat/proto/summary.proto``,
``tensor.proto``, ``event.proto`` and ``plugins/pr_curve/plugin_data.proto``. No errors of ours.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from trainer import wire
from trainer.events import event_record

if TYPE_CHECKING:
    from collections.abc import Iterable

    import numpy.typing as npt

FLOAT, _DOUBLE, _STRING = 1, 2, 7  # DataType, in types.proto
_TENSOR, _BLOBS = 2, 3  # DataClass, in summary.proto
_SCALAR_PLACE, _TENSOR_PLACE, _METADATA_PLACE = 2, 8, 9  # fields of Summary.Value
_BUCKETS: Final = 30
_ENDS: Final = np.arange(_BUCKETS + 1) / _BUCKETS


def scalar(tag: str, number: float) -> bytes:
    """A number for the tab of scalars."""
    return wire.text(1, tag) + wire.real(_SCALAR_PLACE, number)


def text(tag: str, markdown: str) -> bytes:
    """A text for the tab of texts.

    Args:
        tag: its name.
        markdown: what it says.

    Returns:
        The value.
    """
    return _mark(tag, ("text", b""), _TENSOR) + _tensor(_strings(markdown.encode()))


def picture(tag: str, png: bytes, size: tuple[int, int], description: str) -> bytes:
    """A picture for the tab of images.

    Args:
        tag: its name.
        png: the file.
        size: width and height, pixels.
        description: Markdown, shown beside it.

    Returns:
        The value.
    """
    parts = str(size[0]).encode(), str(size[1]).encode(), png
    tensor = _tensor(_strings(*parts, shape=_shape(len(parts))))
    return _mark(tag, ("images", b""), _BLOBS, description) + tensor


def histogram(tag: str, numbers: npt.NDArray[np.float32]) -> bytes:
    """A distribution for the tabs of histograms and distributions.

    Args:
        tag: its name.
        numbers: any shape; those that are not finite are left out.

    Returns:
        The value.
    """
    rows = _count(numbers[np.isfinite(numbers)].astype(np.float64))
    return _mark(tag, ("histograms", b""), _TENSOR) + _tensor(_numbers(rows, _DOUBLE))


def precision_recall(tag: str, rows: npt.NDArray[np.float32], description: str) -> bytes:
    """A curve for the tab of PR curves.

    Args:
        tag: its name.
        rows: true and false positives, true and false negatives, precision and recall at
            thresholds from 0 to 1, ``(6, thresholds)``.
        description: Markdown, shown beside it.

    Returns:
        The value.
    """
    content = wire.whole(2, rows.shape[1])  # PrCurvePluginData.num_thresholds
    value = _mark(tag, ("pr_curves", content), _TENSOR, description)
    return value + _tensor(_numbers(rows, FLOAT))


def note(tag: str, plugin: tuple[str, bytes]) -> bytes:
    """A value that holds nothing but what it is marked with.

    Args:
        tag: its name.
        plugin: whom it is for, and what that is told.

    Returns:
        The value.
    """
    return _mark(tag, plugin) + _tensor(wire.whole(1, FLOAT) + wire.field(2, _shape(0)))


def to_record(values: Iterable[bytes], step: int) -> bytes:
    """Put values of one step into a record.

    Args:
        values: of any tabs.
        step: where they belong on the axis of steps.

    Returns:
        The record.
    """
    summary = b"".join(wire.field(1, value) for value in values)
    return event_record(wire.double(1, time.time()) + wire.whole(2, step) + wire.field(5, summary))


def _count(numbers: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Count numbers in buckets of the same width: ends and counts, ``(buckets, 3)``."""
    low, high = (numbers.min(), numbers.max()) if len(numbers) else (0.0, 1.0)
    if low == high:
        margin = max(0.5, abs(low) / 2**20)
        low, high = low - margin, high + margin
    places = ((numbers - low) / (high - low) * _BUCKETS).astype(np.int64)
    rows = np.empty((_BUCKETS, 3))
    rows[:, 0] = low + _ENDS[:-1] * (high - low)
    rows[:-1, 1], rows[-1, 1] = rows[1:, 0], high
    rows[:, 2] = np.bincount(np.minimum(places, _BUCKETS - 1), minlength=_BUCKETS)
    return rows


def _mark(tag: str, plugin: tuple[str, bytes], data_class: int = 0, description: str = "") -> bytes:
    """Begin a value: its name, and for which tab it is.

    Args:
        tag: its name.
        plugin: the tab's, and what that is told.
        data_class: of its tensor; 0 is not said.
        description: Markdown, shown beside it.

    Returns:
        The value's first fields.
    """
    data = wire.text(1, plugin[0]) + (wire.field(2, plugin[1]) if plugin[1] else b"")
    metadata = wire.field(1, data) + wire.text(3, description) + wire.whole(4, data_class)
    return wire.text(1, tag) + wire.field(_METADATA_PLACE, metadata)


def _tensor(content: bytes) -> bytes:
    return wire.field(_TENSOR_PLACE, content)


def _strings(*parts: bytes, shape: bytes | None = None) -> bytes:
    """A ``TensorProto`` of texts; without a shape it is a single one."""
    size = b"" if shape is None else wire.field(2, shape)
    return wire.whole(1, _STRING) + size + b"".join(wire.field(8, part) for part in parts)


def _numbers(numbers: npt.NDArray[Any], dtype: int) -> bytes:
    """A ``TensorProto`` of numbers."""
    little = numbers.astype(numbers.dtype.newbyteorder("<"))
    shape = wire.field(2, _shape(*numbers.shape))
    return wire.whole(1, dtype) + shape + wire.field(4, little.tobytes())


def _shape(*sizes: int) -> bytes:
    """A ``TensorShapeProto``."""
    return b"".join(wire.field(2, wire.whole(1, size)) for size in sizes)
