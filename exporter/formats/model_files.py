"""The three model files of a bundle, converted from a torch module."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from exporter.formats.copying import copy_module
from exporter.formats.deployed import Deployed
from exporter.formats.onnx import write_onnx
from exporter.formats.program import capture_program, write_program
from exporter.formats.torchscript import write_torchscript
from runtime.bundle.manifest import ONNX_MODEL, PROGRAM_MODEL, TORCHSCRIPT_MODEL

if TYPE_CHECKING:
    from pathlib import Path

    from torch import nn

    from runtime.schema.features import Schema


@dataclass(frozen=True)
class ModelFiles:
    """Contents of ``model.onnx``, ``model.torchscript.pt`` and ``model.pt2``."""

    onnx: bytes
    torchscript: bytes
    program: bytes

    def write(self, folder: Path) -> None:
        """Write the files into a folder."""
        (folder / ONNX_MODEL).write_bytes(self.onnx)
        (folder / TORCHSCRIPT_MODEL).write_bytes(self.torchscript)
        (folder / PROGRAM_MODEL).write_bytes(self.program)

    @classmethod
    def read(cls, folder: Path) -> ModelFiles:
        """Read the files from a folder."""
        return cls(
            onnx=(folder / ONNX_MODEL).read_bytes(),
            torchscript=(folder / TORCHSCRIPT_MODEL).read_bytes(),
            program=(folder / PROGRAM_MODEL).read_bytes(),
        )


def convert_model(model: nn.Module, schema: Schema, *, name: str) -> ModelFiles:
    """Convert a model on the CPU to every format; ``UsageError`` when torch cannot capture it."""
    # A copy without gradients: the served graph must not record autograd.
    deployed = Deployed(copy_module(model)).eval().requires_grad_(requires_grad=False)
    program = capture_program(deployed, schema)
    return ModelFiles(
        onnx=write_onnx(program, schema, name=name),
        torchscript=write_torchscript(deployed, schema),
        program=write_program(program),
    )
