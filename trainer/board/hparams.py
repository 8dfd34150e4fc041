"""Options beside what came of them, for TensorBoard's tab of hparams.

In: options and metrics. Out: values; the metrics are scalars too, for the tab reads them there. The
messages are those of ``tensorboard/plugins/hparams/summary_v2.py``, the numbers of their fields
stand in ``plugin_data.proto`` and ``api.proto`` beside it. No errors of ours.
"""

from __future__ import annotations

import hashlib
import json
import time
from typing import TYPE_CHECKING, Final, Literal

from trainer import wire
from trainer.board.summaries import note, scalar

if TYPE_CHECKING:
    from collections.abc import Mapping

    from runtime.bundle.manifest import Scalar

    Kind = Literal["bool", "number", "string"]

_PREFIX: Final = "_hparams_"
_GROUP: Final = "Final"
_SUCCESS: Final = 1  # Status
_TYPES: Final[dict[Kind, int]] = {"string": 1, "bool": 2, "number": 3}  # DataType


def compare(options: Mapping[str, Scalar], metrics: Mapping[str, float | None]) -> list[bytes]:
    """Say what a fit was made with and how it ended; runs of the same options are a group.

    Args:
        options: by name; one that is None is left out.
        metrics: by name; one that is None has a column only: the tab takes its columns from one
            run, and others may have it.

    Returns:
        The values.
    """
    given = {name: option for name, option in options.items() if option is not None}
    group = hashlib.sha256(json.dumps(given, sort_keys=True).encode()).hexdigest()
    options_set = b"".join(wire.entry(1, name, _value(option)) for name, option in given.items())
    start = options_set + wire.text(4, group) + wire.double(5, time.time())
    end = wire.whole(1, _SUCCESS) + wire.double(2, time.time())
    return [
        _note("experiment", wire.field(2, _describe(given, metrics))),
        _note("session_start_info", wire.field(3, start)),
        _note("session_end_info", wire.field(4, end)),
        *(
            scalar(f"{_GROUP}/{name}", number)
            for name, number in metrics.items()
            if number is not None
        ),
    ]


def _describe(options: Mapping[str, Scalar], metrics: Mapping[str, float | None]) -> bytes:
    """Name the columns of the tab's table: an ``Experiment``."""
    columns = b"".join(
        wire.field(4, wire.text(1, name) + wire.whole(4, _TYPES[_kind(option)]))
        for name, option in options.items()
    )
    for name in metrics:
        named = wire.field(1, wire.text(2, f"{_GROUP}/{name}"))
        columns += wire.field(5, named + wire.text(3, name))
    return wire.double(3, time.time()) + columns


def _value(option: Scalar) -> bytes:
    """A ``google.protobuf.Value``, which says 0, false and an empty text, too."""
    if isinstance(option, bool):
        return wire.varint(4 << 3) + bytes([option])
    if isinstance(option, str):
        return wire.field(3, option.encode())
    assert option is not None, "what is None is left out"  # noqa: S101
    return wire.double(2, option)


def _kind(option: Scalar) -> Kind:
    if isinstance(option, bool):
        return "bool"
    return "string" if isinstance(option, str) else "number"


def _note(name: str, content: bytes) -> bytes:
    return note(f"{_PREFIX}/{name}", ("hparams", content))
