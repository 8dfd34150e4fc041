"""Recognise the stages before the first layer in a captured graph, as ``trainer`` writes them.

What is not recognised to the last argument is no stage: its errors would not be bounded.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import torch

from exporter.reference.intervals import FLOAT32
from exporter.reference.layers import copy_to_numpy
from exporter.reference.nodes import argument, constant, op_name
from exporter.reference.preprocessing import Encoder, Imputer, Preprocessing

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch.fx import Node

# The operations of each stage, from its result back, as _imputation_nodes and _encoding_nodes list
# them.
_IMPUTATION: Final = (
    *("aten.cat", "aten.where", "aten.to"),
    *("aten.index_select", "aten.logical_and", "aten.isnan"),
)
_ENCODING: Final = (
    *("aten.t", "aten.cat", "aten.t", "aten.clamp"),
    *("aten.mul", "aten.sub", "aten.index_select"),
)
_CONCATENATED: Final = 2


def read_stages(node: Node, tensors: dict[str, torch.Tensor]) -> Preprocessing | None:
    """Read the stages whose result a node is, from the features; None for anything else."""
    encoder = imputer = None
    if (nodes := _encoding_nodes(node)) and (encoder := _read_encoder(nodes, tensors)):
        node = argument(nodes[2], 0)
    if (nodes := _imputation_nodes(node)) and (imputer := _read_imputer(nodes, tensors)):
        node = argument(nodes[1], 2)
    is_input = node.op == "placeholder" and node.name not in tensors
    return Preprocessing(imputer, encoder) if is_input else None


def _encoding_nodes(node: Node) -> tuple[Node, ...] | None:
    """Follow an encoding back, from its transposed result."""
    joined = argument(node, 0)
    columns, clipped = _concatenated(joined)
    product = argument(clipped, 0)
    difference = argument(product, 0)
    chosen = argument(difference, 0)
    return _checked((node, joined, columns, clipped, product, difference, chosen), _ENCODING)


def _read_encoder(nodes: Sequence[Node], tensors: dict[str, torch.Tensor]) -> Encoder | None:
    """Read an encoding from its nodes."""
    _, joined, columns, clipped, product, difference, chosen = nodes
    arguments = (argument(joined, 1) or 0, argument(chosen, 1), *clipped.args[1:])
    is_joined = argument(chosen, 0) is columns and not any(
        each.kwargs for each in (clipped, product, difference)
    )
    if not is_joined or arguments != (0, 0, 0, 1):
        return None
    constants = (argument(chosen, 2), argument(difference, 1), argument(product, 1))
    positions, lows, scales = (constant(each, tensors) for each in constants)
    if positions is None or lows is None or scales is None:
        return None
    shape = (len(positions), 1)
    if lows.shape != shape or scales.shape != shape or lows.dtype != torch.float32:
        return None
    is_normal = (scales >= FLOAT32.tiny) & scales.isfinite()
    if scales.dtype != torch.float32 or not (is_normal & lows.isfinite()).all():
        return None
    return Encoder(
        positions.numpy().copy(), copy_to_numpy(lows).ravel(), copy_to_numpy(scales).ravel()
    )


def _imputation_nodes(node: Node) -> tuple[Node, ...] | None:
    """Follow an imputation back: joined, filled, indicators, selected, missing, is-NaN."""
    filled, indicators = _concatenated(node)
    selected, missing = argument(indicators, 0), argument(filled, 0)
    return _checked(
        (node, filled, indicators, selected, missing, argument(missing, 0)), _IMPUTATION
    )


def _read_imputer(nodes: Sequence[Node], tensors: dict[str, torch.Tensor]) -> Imputer | None:
    """Read an imputation from its nodes."""
    joined, filled, indicators, selected, missing, is_nan = nodes
    constants = (argument(filled, 1), argument(missing, 1), argument(selected, 2))
    fills, mask, columns = (constant(each, tensors) for each in constants)
    is_joined = argument(is_nan, 0) is argument(filled, 2) and argument(selected, 0) is missing
    arguments = (argument(joined, 1), argument(selected, 1), argument(indicators, 1))
    if not is_joined or arguments != (1, 1, torch.float32):
        return None
    if fills is None or mask is None or columns is None:
        return None
    if mask.nonzero().flatten().tolist() != columns.tolist():
        return None
    return Imputer(copy_to_numpy(fills), tuple(columns.tolist()))


def _concatenated(node: Node | None) -> tuple[Node | None, Node | None]:
    """Return the two values that a node joins; None where it joins none."""
    parts = argument(node, 0)
    is_pair = isinstance(parts, list | tuple) and len(parts) == _CONCATENATED
    return (parts[0], parts[1]) if is_pair else (None, None)


def _checked(nodes: Sequence[Node | None], names: Sequence[str]) -> tuple[Node, ...] | None:
    """Return nodes that are operations of these names; None otherwise."""
    found = tuple(each for each in nodes if each is not None and hasattr(each, "target"))
    return found if [op_name(each) for each in found] == list(names) else None
