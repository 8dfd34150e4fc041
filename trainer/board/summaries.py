"""Single values of TensorBoard's tabs, and events that hold them.

In: arrays, texts and pictures. Out: ``Summary.Value`` messages, and records of an event file. What
a plugin expects of its tensors is said in ``tensorboard/plugins/NAME/summary_v2.py`` and
``metadata.py`` (of TensorBoard 2.21). No errors of ours.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import numpy as np
from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import (
    DATA_CLASS_BLOB_SEQUENCE,
    DATA_CLASS_TENSOR,
    Summary,
)
from tensorboard.compat.proto.tensor_pb2 import TensorProto
from tensorboard.compat.proto.types_pb2 import DT_DOUBLE, DT_FLOAT, DT_STRING

from trainer.events import event_record

if TYPE_CHECKING:
    from collections.abc import Iterable

    import numpy.typing as npt

_BUCKETS = 30

Value = Any  # tensorboard publishes no types: a Summary.Value


def scalar(tag: str, number: float) -> Value:
    """A number for the tab of scalars."""
    return Summary.Value(tag=tag, simple_value=number)


def text(tag: str, markdown: str) -> Value:
    """A text for the tab of texts.

    Args:
        tag: its name.
        markdown: what it says.

    Returns:
        The value.
    """
    value = _begin(tag, "text", DATA_CLASS_TENSOR)
    value.tensor.CopyFrom(TensorProto(dtype=DT_STRING, string_val=[markdown.encode()]))
    return value


def picture(tag: str, png: bytes, size: tuple[int, int], description: str) -> Value:
    """A picture for the tab of images.

    Args:
        tag: its name.
        png: the file.
        size: width and height, pixels.
        description: Markdown, shown beside it.

    Returns:
        The value.
    """
    value = _begin(tag, "images", DATA_CLASS_BLOB_SEQUENCE, description=description)
    parts = [str(size[0]).encode(), str(size[1]).encode(), png]
    value.tensor.CopyFrom(TensorProto(dtype=DT_STRING, string_val=parts))
    value.tensor.tensor_shape.dim.add(size=len(parts))
    return value


def histogram(tag: str, numbers: npt.NDArray[np.float32]) -> Value:
    """A distribution for the tabs of histograms and distributions.

    Args:
        tag: its name.
        numbers: any shape; those that are not finite are left out.

    Returns:
        The value.
    """
    finite = numbers[np.isfinite(numbers)].astype(np.float64)
    counts, edges = np.histogram(finite, bins=_BUCKETS)
    rows = np.stack((edges[:-1], edges[1:], counts), axis=1)  # (buckets, 3)
    value = _begin(tag, "histograms", DATA_CLASS_TENSOR)
    _fill(value.tensor, rows, DT_DOUBLE)
    return value


def precision_recall(tag: str, rows: npt.NDArray[np.float32], description: str) -> Value:
    """A curve for the tab of PR curves.

    Args:
        tag: its name.
        rows: true and false positives, true and false negatives, precision and recall at
            thresholds from 0 to 1, ``(6, thresholds)``.
        description: Markdown, shown beside it.

    Returns:
        The value.
    """
    from tensorboard.plugins.pr_curve.plugin_data_pb2 import PrCurvePluginData

    content = PrCurvePluginData(num_thresholds=rows.shape[1]).SerializeToString()
    value = _begin(tag, "pr_curves", DATA_CLASS_TENSOR, content, description=description)
    _fill(value.tensor, rows, DT_FLOAT)
    return value


def to_record(values: Iterable[Value], step: int) -> bytes:
    """Put values of one step into a record.

    Args:
        values: of any tabs.
        step: where they belong on the axis of steps.

    Returns:
        The record.
    """
    event = Event(wall_time=time.time(), step=step, summary=Summary(value=values))
    return event_record(event.SerializeToString())


def _begin(
    tag: str, plugin: str, data_class: int, content: bytes = b"", description: str = ""
) -> Value:
    """A value without its tensor, marked for a plugin."""
    value = Summary.Value(tag=tag)
    value.metadata.plugin_data.plugin_name = plugin
    value.metadata.plugin_data.content = content
    value.metadata.data_class = data_class
    value.metadata.summary_description = description
    return value


def _fill(tensor: Any, numbers: npt.NDArray[Any], dtype: int) -> None:  # noqa: ANN401 - a TensorProto
    tensor.dtype = dtype
    for size in numbers.shape:
        tensor.tensor_shape.dim.add(size=size)
    little = numbers.astype(numbers.dtype.newbyteorder("<"))
    tensor.tensor_content = little.tobytes()
