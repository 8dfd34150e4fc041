"""Records of event files equal those of TensorBoard's own writer."""

from __future__ import annotations

import io

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.summary.writer.record_writer import RecordWriter

from trainer.loggers.events import event_record, file_header, scalar_records


@given(
    tag=st.text(min_size=1, max_size=200),
    first=st.one_of(st.integers(0, 300), st.integers(2**14 - 300, 2**14), st.integers(0, 2**40)),
    values=st.lists(st.floats(width=32, allow_nan=False), max_size=300),
    wall_time=st.floats(1, 2**40),
)
def test_scalars_equal_serialised_events(
    tag: str, first: int, values: list[float], wall_time: float
) -> None:
    """Patched bytes and checksums are those of protobuf and TensorBoard's writer."""
    records = scalar_records(tag, first, values, wall_time)
    expected = bytearray()
    for step, value in enumerate(np.array(values, np.float32), start=first):
        event = Event(wall_time=wall_time, step=step)
        event.summary.value.add(tag=tag, simple_value=float(value))
        expected += framed(serialised(event))
    assert records == bytes(expected)


def test_the_header_equals_tensorboards() -> None:
    """The first record names the version of the format."""
    event = Event(wall_time=12.5, file_version="brain.Event:2")
    assert file_header(12.5) == framed(event.SerializeToString())


@given(st.binary(max_size=700))
def test_checksums_equal_tensorboards(content: bytes) -> None:
    """Of events of any size."""
    event = Event(graph_def=content)
    assert event_record(event) == framed(event.SerializeToString())


def serialised(event: Event) -> bytes:
    """Serialise an event, with an explicit step 0: absent and zero mean the same."""
    text = bytes(event.SerializeToString())
    return text if event.step else text[:9] + b"\x10\x00" + text[9:]


def framed(data: bytes) -> bytes:
    """Write a record with TensorBoard's own writer."""
    stream = io.BytesIO()
    RecordWriter(stream).write(data)
    return stream.getvalue()
