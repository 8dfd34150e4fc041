"""The network as a graph: its layers, what flows between them, and how wide that is.

In: a fitted network. Out: TensorBoard's ``GraphDef`` as a record of an event file. Drawn from the
layers themselves: tracing would need an example and show torch's calls instead. No errors.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.graph_pb2 import GraphDef
from tensorboard.compat.proto.types_pb2 import DT_FLOAT, DT_INT64
from tensorboard.compat.proto.versions_pb2 import VersionDef

from trainer.events import event_record

if TYPE_CHECKING:
    from trainer.model import SimpleNet

_ANY = -1  # the batch


def graph_record(model: SimpleNet) -> bytes:
    """Draw a network.

    Args:
        model: the network.

    Returns:
        The record.
    """
    graph = GraphDef(versions=VersionDef(producer=22))  # the first that shows shapes
    layers = model.linear_layers()
    last = _add(graph, "features", "Placeholder", (_ANY, layers[0].in_features))
    for number, linear in enumerate(layers, start=1):
        scope, width = f"layer_{number}", linear.out_features
        weight = _add(graph, f"{scope}/weight", "Parameter", tuple(linear.weight.shape))
        bias = _add(graph, f"{scope}/bias", "Parameter", tuple(linear.bias.shape))
        last = _add(graph, f"{scope}/linear", "Linear", (_ANY, width), last, weight, bias)
        if linear is not layers[-1]:
            last = _add(graph, f"{scope}/relu", "Relu", (_ANY, width), last)
    logits = _add(graph, "logits", "Identity", (_ANY, layers[-1].out_features), last)
    _add(graph, "probabilities", "Softmax", (_ANY, layers[-1].out_features), logits)
    _add(graph, "label", "ArgMax", (_ANY,), logits)
    return event_record(
        Event(wall_time=time.time(), graph_def=graph.SerializeToString()).SerializeToString()
    )


def _add(graph: Any, name: str, operation: str, shape: tuple[int, ...], *inputs: str) -> str:  # noqa: ANN401 - a GraphDef
    """Add a node; its name is the input of others."""
    node = graph.node.add(name=name, op=operation, input=inputs)
    node.attr["dtype"].type = DT_INT64 if operation == "ArgMax" else DT_FLOAT
    output = node.attr["_output_shapes"].list.shape.add()
    for size in shape:
        output.dim.add(size=size)
    return name
