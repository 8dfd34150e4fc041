"""The network as a graph: its layers, what flows between them, and how wide that is.

In: a fitted network. Out: TensorBoard's ``GraphDef`` as a record of an event file; the numbers of
its fields stand in ``graph.proto``, ``node_def.proto``, ``attr_value.proto`` and
``tensor_shape.proto`` of ``tensorboard/compat/proto``. Drawn from the layers themselves: tracing
would need an example and show torch's calls instead. No errors.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from trainer import wire
from trainer.events import event_record

if TYPE_CHECKING:
    from trainer.model import SimpleNet

_ANY: Final = -1  # the batch
_FLOAT, _INT64 = 1, 9  # DataType, in types.proto
_SHOWS_SHAPES: Final = 22  # the first version of a producer of which shapes are shown


def graph_record(model: SimpleNet) -> bytes:
    """Draw a network.

    Args:
        model: the network.

    Returns:
        The record.
    """
    layers, nodes = model.linear_layers(), []

    def add(name: str, operation: str, shape: tuple[int, ...], *inputs: str) -> str:
        nodes.append(_node(name, operation, shape, inputs))
        return name

    last = add("features", "Placeholder", (_ANY, layers[0].in_features))
    for number, linear in enumerate(layers, start=1):
        scope, width = f"layer_{number}", linear.out_features
        weight = add(f"{scope}/weight", "Parameter", tuple(linear.weight.shape))
        bias = add(f"{scope}/bias", "Parameter", tuple(linear.bias.shape))
        last = add(f"{scope}/linear", "Linear", (_ANY, width), last, weight, bias)
        if linear is not layers[-1]:
            last = add(f"{scope}/relu", "Relu", (_ANY, width), last)
    logits = add("logits", "Identity", (_ANY, layers[-1].out_features), last)
    add("probabilities", "Softmax", (_ANY, layers[-1].out_features), logits)
    add("label", "ArgMax", (_ANY,), logits)
    versions = wire.field(4, wire.whole(1, _SHOWS_SHAPES))
    graph = b"".join(wire.field(1, node) for node in nodes) + versions
    return event_record(wire.double(1, time.time()) + wire.field(4, graph))


def _node(name: str, operation: str, shape: tuple[int, ...], inputs: tuple[str, ...]) -> bytes:
    """A ``NodeDef``; its name is the input of others."""
    kind = _INT64 if operation == "ArgMax" else _FLOAT
    sizes = b"".join(wire.field(2, wire.whole(1, size)) for size in shape)
    shapes = wire.field(1, wire.field(7, sizes))  # AttrValue.list, its shapes
    return (
        wire.text(1, name)
        + wire.text(2, operation)
        + b"".join(wire.text(3, each) for each in inputs)
        + wire.entry(5, "dtype", wire.whole(6, kind))
        + wire.entry(5, "_output_shapes", shapes)
    )
