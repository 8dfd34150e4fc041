"""The three model files of a bundle, converted from a torch module."""

from __future__ import annotations

import re
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from exporter.formats.copying import copy_module
from exporter.formats.deployed import Deployed
from exporter.formats.onnx import write_onnx
from exporter.formats.program import capture_program, write_program
from exporter.formats.torchscript import write_torchscript
from runtime.bundle.manifest import ONNX_MODEL, PROGRAM_MODEL, TORCHSCRIPT_MODEL
from runtime.errors import OnnxferryError, UsageError, first_line

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from torch import nn

    from runtime.schema.features import Schema

_OPERATION = re.compile(r"target=torch\.ops\.([\w.]+)")  # in messages of torch.onnx


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
    with _translated("ONNX"):
        onnx = write_onnx(program, schema, name=name)
    with _translated("TorchScript"):
        torchscript = write_torchscript(deployed, schema)
    with _translated("a torch.export archive"):
        return ModelFiles(onnx, torchscript, write_program(program))


@contextmanager
def _translated(kind: str) -> Iterator[None]:
    """Raise ``UsageError`` for whatever torch raises when it converts a model."""
    try:
        yield
    except OnnxferryError:
        raise
    except Exception as exc:
        raise UsageError(
            f"torch cannot convert the model to {kind}: {_reason(exc)}; replace that operation by "
            "others"
        ) from exc


def _reason(error: Exception) -> str:
    """Name the operation that has no conversion, or give torch's own words."""
    cause = error.__cause__ or error
    operation = _OPERATION.search(str(cause))
    return f"it has no conversion of {operation[1]}" if operation else first_line(error).rstrip(":")
