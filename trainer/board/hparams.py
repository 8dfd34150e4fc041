"""Options beside what came of them, for TensorBoard's tab of hparams.

In: options and metrics. Out: values; the metrics are scalars too, for the tab reads them there. The
messages are those of ``tensorboard/plugins/hparams/summary_v2.py``, which would load TensorFlow
where it is installed. No errors of ours.
"""

from __future__ import annotations

import hashlib
import json
import time
from typing import TYPE_CHECKING, Any

from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.compat.proto.tensor_pb2 import TensorProto
from tensorboard.compat.proto.types_pb2 import DT_FLOAT
from tensorboard.plugins.hparams import api_pb2 as api
from tensorboard.plugins.hparams.plugin_data_pb2 import (
    HParamsPluginData,
    SessionEndInfo,
    SessionStartInfo,
)

from trainer.board.summaries import scalar

if TYPE_CHECKING:
    from collections.abc import Mapping

    from runtime.manifest import Scalar
    from trainer.board.summaries import Value

_PREFIX = "_hparams_"
_GROUP = "Final"


def compare(options: Mapping[str, Scalar], metrics: Mapping[str, float | None]) -> list[Value]:
    """Say what a fit was made with and how it ended; runs of the same options are a group.

    Args:
        options: by name; one that is None is left out.
        metrics: by name; one that is None has a column only: the tab takes its columns from one
            run, and others may have it.

    Returns:
        The values.
    """
    given = {name: option for name, option in options.items() if option is not None}
    text = json.dumps(given, sort_keys=True)
    start = SessionStartInfo(
        group_name=hashlib.sha256(text.encode()).hexdigest(), start_time_secs=time.time()
    )
    for name, option in given.items():
        setattr(start.hparams[name], f"{_kind(option)}_value", option)
    end = SessionEndInfo(status=api.STATUS_SUCCESS, end_time_secs=time.time())
    return [
        _note("experiment", HParamsPluginData(experiment=_describe(given, metrics))),
        _note("session_start_info", HParamsPluginData(session_start_info=start)),
        _note("session_end_info", HParamsPluginData(session_end_info=end)),
        *(
            scalar(f"{_GROUP}/{name}", number)
            for name, number in metrics.items()
            if number is not None
        ),
    ]


def _describe(options: Mapping[str, Scalar], metrics: Mapping[str, float | None]) -> api.Experiment:
    """Name the columns of the tab's table."""
    types = {
        "bool": api.DATA_TYPE_BOOL,
        "number": api.DATA_TYPE_FLOAT64,
        "string": api.DATA_TYPE_STRING,
    }
    return api.Experiment(
        hparam_infos=[
            api.HParamInfo(name=name, type=types[_kind(option)]) for name, option in options.items()
        ],
        metric_infos=[
            api.MetricInfo(name=api.MetricName(tag=f"{_GROUP}/{name}"), display_name=name)
            for name in metrics
        ],
        time_created_secs=time.time(),
    )


def _kind(option: Scalar) -> str:
    if isinstance(option, bool):
        return "bool"
    return "string" if isinstance(option, str) else "number"


def _note(name: str, content: Any) -> Value:  # noqa: ANN401 - tensorboard publishes no types
    """A value that holds nothing but what it is marked with."""
    value = Summary.Value(tag=f"{_PREFIX}/{name}")
    value.metadata.plugin_data.plugin_name = "hparams"
    value.metadata.plugin_data.content = content.SerializeToString()
    value.tensor.CopyFrom(TensorProto(dtype=DT_FLOAT))
    value.tensor.tensor_shape.dim.add(size=0)
    return value
