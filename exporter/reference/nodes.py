"""Read the nodes of a captured graph: operations, arguments, and tensors of the program."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch.export import ExportedProgram
    from torch.fx import Node


def op_name(node: Node) -> str:
    """Return a node's operation without its overload, such as ``aten.linear``."""
    return ".".join(str(node.target).split(".")[:2])


def argument(node: Any, position: int) -> Any:  # noqa: ANN401 - torch's type
    """Return a node's positional argument; None where it has fewer, or is no node."""
    arguments = getattr(node, "args", ())
    return arguments[position] if len(arguments) > position else None


def constant(node: Any, tensors: dict[str, torch.Tensor]) -> torch.Tensor | None:  # noqa: ANN401 - an argument
    """Return the program's own tensor that an argument is; None for any other."""
    return tensors.get(getattr(node, "name", ""))


def tensors_of(program: ExportedProgram) -> dict[str, torch.Tensor]:
    """Return the program's own tensors, by the name of their placeholder."""
    return dict(_named_tensors(program))


def _named_tensors(program: ExportedProgram) -> Iterator[tuple[str, torch.Tensor]]:
    signature = program.graph_signature
    held = {**program.constants, **program.state_dict}
    targets = {
        **signature.inputs_to_parameters,
        **signature.inputs_to_buffers,
        **signature.inputs_to_lifted_tensor_constants,
    }
    for name, target in targets.items():
        tensor = held[target]
        if isinstance(tensor, torch.Tensor):
            yield name, tensor
