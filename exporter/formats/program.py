"""Write and load ``model.pt2``, the exported program that is TorchScript's successor.

In: a deployed module. Out: the graph that ``torch.export`` captured, and the bytes of its archive,
the same for the same module in any folder; ``torch.export.load`` opens it. A file that cannot be
loaded is an ``ArtifactError``.
"""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import torch

from runtime.errors import ArtifactError

if TYPE_CHECKING:
    from torch.export import ExportedProgram

    from runtime.schema import Schema

BATCH = "batch"


def capture_program(model: torch.nn.Module, schema: Schema) -> ExportedProgram:
    """Capture a module's graph with a symbolic batch.

    Args:
        model: with the contract's outputs, on the CPU, in evaluation mode.
        schema: gives the number of features.

    Returns:
        The program, without the places in our source files that it came from.
    """
    example = torch.zeros(2, schema.n_features)  # a batch of 1 would be taken for a constant
    program = torch.export.export(
        model, (example,), dynamic_shapes=({0: torch.export.Dim(BATCH)},), strict=False
    )
    for node in program.graph.nodes:
        node.meta.pop("stack_trace", None)  # absolute paths of this machine
    return program


def write_program(program: ExportedProgram) -> bytes:
    """Write a program as an archive.

    Args:
        program: as captured.

    Returns:
        The archive's bytes.
    """
    buffer = io.BytesIO()
    torch.export.save(program, buffer)
    return buffer.getvalue()


def load_program(content: bytes, *, where: str) -> torch.nn.Module:
    """Load an exported program onto the CPU.

    Args:
        content: of the file.
        where: path for messages.

    Returns:
        A module that runs the program.

    Raises:
        ArtifactError: when torch cannot load it.
    """
    try:
        return torch.export.load(io.BytesIO(content)).module()
    except Exception as exc:  # torch's reader of archives raises almost anything
        reason = str(exc).strip().splitlines()[0]
        raise ArtifactError(f"torch cannot load {where}: {reason}; export again") from exc
