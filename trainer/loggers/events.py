"""Build TensorBoard's summaries and the records of its event files."""

from __future__ import annotations

import hashlib
import json
import math
import re
import struct
import time
from typing import TYPE_CHECKING, Any, Final, Literal

import numpy as np
from crc32c import crc32c
from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.graph_pb2 import GraphDef
from tensorboard.compat.proto.summary_pb2 import (
    DATA_CLASS_BLOB_SEQUENCE,
    DATA_CLASS_TENSOR,
    DATA_CLASS_UNKNOWN,
    Summary,
    SummaryMetadata,
)
from tensorboard.compat.proto.tensor_pb2 import TensorProto
from tensorboard.compat.proto.tensor_shape_pb2 import TensorShapeProto
from tensorboard.compat.proto.types_pb2 import DT_DOUBLE, DT_FLOAT, DT_INT64, DT_STRING
from tensorboard.compat.proto.versions_pb2 import VersionDef
from tensorboard.plugins.custom_scalar.layout_pb2 import Category, Layout, MultilineChartContent
from tensorboard.plugins.custom_scalar.metadata import CONFIG_SUMMARY_TAG
from tensorboard.plugins.hparams.api_pb2 import (
    DATA_TYPE_BOOL,
    DATA_TYPE_FLOAT64,
    DATA_TYPE_STRING,
    STATUS_SUCCESS,
    Experiment,
)
from tensorboard.plugins.hparams.plugin_data_pb2 import (
    HParamsPluginData,
    SessionEndInfo,
    SessionStartInfo,
)
from tensorboard.plugins.pr_curve.plugin_data_pb2 import PrCurvePluginData

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    import numpy.typing as npt

    from runtime.bundle.manifest import Scalar
    from trainer.model import SimpleNet

    Plugin = Literal["text", "images", "histograms", "pr_curves", "hparams", "custom_scalars"]

    Message = Any  # tensorboard publishes no types


_STEP_AT: Final = 10  # in a serialised event: wall_time's tag and 8 bytes, step's tag, step
_VALUE_SIZE: Final = 4  # simple_value is the last field
_MASK_DELTA: Final = np.uint32(0xA282EAD8)
_BUCKETS: Final = 30  # of a histogram
_EDGES: Final = np.arange(_BUCKETS + 1) / _BUCKETS
_BATCH: Final = -1  # a dimension of any size
_PRODUCER: Final = 22  # the first version whose output shapes the Graphs tab shows
_MAX_NODES: Final = 64  # of inputs in the Graphs tab: more are one node


def event_record(event: Message) -> bytes:
    """Serialise an ``Event`` as a record."""
    data: bytes = event.SerializeToString()
    return _header(len(data)) + data + _mask([crc32c(data)]).tobytes()


def file_header(wall_time: float) -> bytes:
    """Build the first record of an event file, which names the format's version."""
    return event_record(Event(wall_time=wall_time, file_version="brain.Event:2"))


def scalar_records(tag: str, first_step: int, values: npt.ArrayLike, wall_time: float) -> bytes:
    """Build a record for each of ``values`` ``(n,)``, kept as float32, at successive steps."""
    numbers = np.ascontiguousarray(values, dtype="<f4").reshape(-1)
    summary = Summary(value=[Summary.Value(tag=tag, simple_value=0)])
    records, start = [], 0
    while start < len(numbers):  # a run of steps whose varints have the same length
        step = first_step + start
        size = max(1, -(-step.bit_length() // 7))
        end = min(len(numbers), (1 << 7 * size) - first_step)
        event = Event(wall_time=wall_time, step=max(step, 1), summary=summary).SerializeToString()
        records.append(_patch(event, step, size, numbers[start:end]))
        start = end
    return b"".join(records)


def _patch(event: bytes, first_step: int, size: int, values: npt.NDArray[np.float32]) -> bytes:
    """Repeat an event's record for each value, with varint steps of ``size`` bytes."""
    header = _header(len(event))
    template = np.frombuffer(header + event + bytes(4), np.uint8)
    records = np.tile(template, (len(values), 1))  # (records, bytes)
    steps = np.arange(first_step, first_step + len(values), dtype=np.int64)[:, None]
    varints = steps >> 7 * np.arange(size) & 0x7F
    varints[:, :-1] |= 0x80
    events = records[:, len(header) : -4]
    events[:, _STEP_AT : _STEP_AT + size] = varints
    events[:, -_VALUE_SIZE:] = values.view(np.uint8).reshape(-1, _VALUE_SIZE)
    # As bytes, one object a record: half the time that rows of an array take.
    contents = np.ascontiguousarray(events).view(f"V{events.shape[1]}")[:, 0].tolist()
    checksums = _mask(list(map(crc32c, contents)))
    records[:, -4:] = checksums.view(np.uint8).reshape(-1, 4)
    return records.tobytes()


def _header(length: int) -> bytes:
    packed = struct.pack("<Q", length)
    return packed + _mask([crc32c(packed)]).tobytes()


def _mask(checksums: Sequence[int]) -> npt.NDArray[np.uint32]:
    """Mask CRC-32C checksums as the record format requires: rotate by 15 bits, add a constant."""
    sums = np.array(checksums, "<u4")
    return (sums >> np.uint32(15) | sums << np.uint32(17)) + _MASK_DELTA


def scalar(tag: str, number: float) -> Message:
    """Build a value for the Scalars tab."""
    return Summary.Value(tag=tag, simple_value=number)


def text(tag: str, markdown: str) -> Message:
    """Build a value for the Text tab."""
    tensor = TensorProto(dtype=DT_STRING, string_val=[markdown.encode()])
    return _value(tag, "text", tensor)


def image(tag: str, png: bytes, size: tuple[int, int], description: str) -> Message:
    """Build a value for the Images tab; ``size`` is width and height, in pixels."""
    parts = [str(size[0]).encode(), str(size[1]).encode(), png]
    tensor = TensorProto(dtype=DT_STRING, tensor_shape=_shape(len(parts)), string_val=parts)
    return _value(tag, "images", tensor, DATA_CLASS_BLOB_SEQUENCE, description=description)


def histogram(tag: str, numbers: npt.NDArray[np.float32]) -> Message:
    """Build a value for the Histograms and Distributions tabs; only finite numbers count."""
    rows = _count_buckets(numbers.ravel().astype(np.float64))
    return _value(tag, "histograms", _tensor(rows, DT_DOUBLE))


def pr_curve(tag: str, rows: npt.NDArray[np.float32], description: str) -> Message:
    """Build a value for the PR Curves tab.

    ``rows`` are true and false positives, true and false negatives, precision and recall at
    thresholds from 0 to 1, ``(6, thresholds)``.
    """
    content = PrCurvePluginData(num_thresholds=rows.shape[1]).SerializeToString()
    return _value(
        tag, "pr_curves", _tensor(rows, DT_FLOAT), content=content, description=description
    )


def chart_layout(charts: Mapping[str, Sequence[str]]) -> Message:
    """Build the layout of the Custom Scalars tab: the tags of each chart, by its title."""
    layout = Layout(category=[Category(title="Training and test")])
    for title, tags in charts.items():
        patterns = [f"^{re.escape(tag)}$" for tag in tags]
        layout.category[0].chart.add(title=title, multiline=MultilineChartContent(tag=patterns))
    tensor = TensorProto(dtype=DT_STRING, string_val=[layout.SerializeToString()])
    return _value(CONFIG_SUMMARY_TAG, "custom_scalars", tensor)


def hparams(options: Mapping[str, Scalar], metrics: Mapping[str, str]) -> list[Message]:
    """Build the values of the HParams tab: the options of a run, and the tags of its metrics.

    Options that are None are omitted. A metric is the last value of its curve, by the name it is
    shown under; one without a curve keeps its column: the tab takes the columns from one run, and
    others may have it. Runs of equal options form a group.
    """
    given = {name: option for name, option in options.items() if option is not None}
    experiment = Experiment(time_created_secs=time.time())
    start = SessionStartInfo(start_time_secs=time.time())
    start.group_name = hashlib.sha256(json.dumps(given, sort_keys=True).encode()).hexdigest()
    for name, option in given.items():
        kind, field = _hparam_type(option)
        experiment.hparam_infos.add(name=name, type=kind)
        setattr(start.hparams[name], field, option)
    for name, tag in metrics.items():
        experiment.metric_infos.add(display_name=name).name.tag = tag
    end = SessionEndInfo(status=STATUS_SUCCESS, end_time_secs=time.time())
    return [
        _hparams_value("experiment", HParamsPluginData(experiment=experiment)),
        _hparams_value("session_start_info", HParamsPluginData(session_start_info=start)),
        _hparams_value("session_end_info", HParamsPluginData(session_end_info=end)),
    ]


def summary_record(values: Iterable[Message], step: int) -> bytes:
    """Build the record of an event that holds values of one step."""
    return event_record(Event(wall_time=time.time(), step=step, summary=Summary(value=values)))


def graph_record(model: SimpleNet, inputs: Sequence[str]) -> bytes:
    """Build the record that draws a network: its inputs, its layers, and the shapes between them.

    Drawn from the layers themselves: tracing needs an example and shows torch's calls instead.
    """
    layers = model.linear_layers()
    graph = GraphDef(versions=VersionDef(producer=_PRODUCER))

    def add(name: str, operation: str, shape: tuple[int, ...], *inputs: str) -> str:
        node = graph.node.add(name=name, op=operation, input=inputs)
        node.attr["dtype"].type = DT_INT64 if operation == "ArgMax" else DT_FLOAT
        node.attr["_output_shapes"].list.shape.append(_shape(*shape))
        return name

    names = [f"inputs/{_node_name(at, name)}" for at, name in enumerate(inputs, start=1)]
    sources = names if len(names) <= _MAX_NODES else []
    for name in sources:
        add(name, "Placeholder", (_BATCH, 1))
    last = add("features", "Concat", (_BATCH, layers[0].in_features), *sources)
    for number, linear in enumerate(layers, start=1):
        scope, width = f"layer_{number}", linear.out_features
        weight = add(f"{scope}/weight", "Parameter", tuple(linear.weight.shape))
        bias = add(f"{scope}/bias", "Parameter", tuple(linear.bias.shape))
        last = add(f"{scope}/linear", "Linear", (_BATCH, width), last, weight, bias)
        if linear is not layers[-1]:
            last = add(f"{scope}/relu", "Relu", (_BATCH, width), last)
    logits = add("logits", "Identity", (_BATCH, layers[-1].out_features), last)
    add("probabilities", "Softmax", (_BATCH, layers[-1].out_features), logits)
    add("label", "ArgMax", (_BATCH,), logits)
    return event_record(Event(wall_time=time.time(), graph_def=graph.SerializeToString()))


def _node_name(at: int, name: str) -> str:
    """Make a node's name of an input's: a slash would begin a scope, and names must differ."""
    plain = re.sub(r"[^\w.=<>+-]+", "_", name.replace("/", "_"))
    return plain if plain == name else f"{plain}_{at}"


def _count_buckets(numbers: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Count numbers in buckets of equal width: edges and counts, ``(buckets, 3)``.

    ``np.histogram`` takes three times as long, 1 % of a short fit.
    """
    low, high = (numbers.min(), numbers.max()) if len(numbers) else (0.0, 1.0)
    if not (math.isfinite(low) and math.isfinite(high)):
        return _count_buckets(numbers[np.isfinite(numbers)])
    if low == high:
        margin = max(0.5, abs(low) / 2**20)
        low, high = low - margin, high + margin
    scaled = (numbers - low) * (_BUCKETS / (high - low))
    edges = low + _EDGES * (high - low)
    edges[-1] = high
    rows = np.empty((_BUCKETS, 3))
    rows[:, 0], rows[:, 1] = edges[:-1], edges[1:]
    rows[:, 2] = np.bincount(np.minimum(scaled.astype(np.int64), _BUCKETS - 1), minlength=_BUCKETS)
    return rows


def _value(
    tag: str,
    plugin: Plugin,
    tensor: Message,
    data_class: int = DATA_CLASS_TENSOR,
    *,
    content: bytes = b"",
    description: str = "",
) -> Message:
    metadata = SummaryMetadata(
        plugin_data=SummaryMetadata.PluginData(plugin_name=plugin, content=content),
        summary_description=description,
        data_class=data_class,
    )
    return Summary.Value(tag=tag, metadata=metadata, tensor=tensor)


def _hparams_value(name: str, data: Message) -> Message:
    """Build a value that holds plugin data and an empty tensor."""
    empty = TensorProto(dtype=DT_FLOAT, tensor_shape=_shape(0))
    content = data.SerializeToString()
    return _value(f"_hparams_/{name}", "hparams", empty, DATA_CLASS_UNKNOWN, content=content)


def _hparam_type(option: float | str) -> tuple[int, str]:
    """Return an option's type, and the field of ``google.protobuf.Value`` that holds it."""
    if isinstance(option, bool):
        return DATA_TYPE_BOOL, "bool_value"
    if isinstance(option, str):
        return DATA_TYPE_STRING, "string_value"
    return DATA_TYPE_FLOAT64, "number_value"


def _tensor(numbers: npt.NDArray[Any], dtype: int) -> Message:
    little = numbers.astype(numbers.dtype.newbyteorder("<"))
    return TensorProto(
        dtype=dtype, tensor_shape=_shape(*numbers.shape), tensor_content=little.tobytes()
    )


def _shape(*sizes: int) -> Message:
    return TensorShapeProto(dim=[TensorShapeProto.Dim(size=size) for size in sizes])
