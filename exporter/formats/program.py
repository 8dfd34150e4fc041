"""Capture, write and load ``model.pt2``, the program that ``torch.export`` captures."""

from __future__ import annotations

import io
import logging
import tempfile
import warnings
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from typing import TYPE_CHECKING

import torch

from exporter.formats.archive import check_program_archive
from exporter.formats.capture_errors import explain_capture
from exporter.formats.graphs import op_kind
from runtime.errors import ArtifactError, UnavailableError, UsageError, first_line

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import fx
    from torch.export import ExportedProgram
    from torch.fx.node import Argument

    from runtime.schema.features import Schema

BATCH = "batch"
_CLAMPS = frozenset({"clamp", "clamp_", "clip", "clip_", "hardtanh", "hardtanh_"})


def capture_program(model: torch.nn.Module, schema: Schema) -> ExportedProgram:
    """Capture the graph of a deployed module in evaluation mode, with a symbolic batch."""
    _require_temporary_folder()
    example = torch.zeros(2, schema.n_inputs)  # a batch of 1 would be specialised to a constant

    def capture() -> ExportedProgram:
        with _silent():
            return torch.export.export(
                model, (example,), dynamic_shapes=({0: torch.export.Dim(BATCH)},), strict=False
            )

    try:
        program = capture()
    except Exception as exc:  # torch raises almost anything, and so may the model
        raise UsageError(
            f"torch.export cannot capture the model: {explain_capture(exc, capture)}; it must map "
            f"rows of {schema.n_inputs} features to class scores, any number of rows, without "
            "branches on their values"
        ) from exc
    for node in program.graph.nodes:
        node.meta.pop("stack_trace", None)  # absolute paths of this machine
        if op_kind(str(node.target)) in _CLAMPS:
            _unify_bounds(node)
    return program


def _unify_bounds(node: fx.Node) -> None:
    """Make both bounds of a clamp float where one is: torch.onnx converts no ``clamp(1e-7, 1)``."""
    values = (*node.args, *node.kwargs.values())
    if any(isinstance(value, float) for value in values):
        node.args = tuple(_as_float(value) for value in node.args)
        node.kwargs = {name: _as_float(value) for name, value in node.kwargs.items()}


def _as_float(value: Argument) -> Argument:
    return float(value) if isinstance(value, int) else value


def _require_temporary_folder() -> None:
    """Check for a folder for temporary files, where torch has one for its compiler's cache."""
    try:
        tempfile.gettempdir()
    except OSError as exc:
        raise UnavailableError(
            "torch needs a folder for temporary files: mount a writable /tmp, or set TMPDIR to a "
            "writable folder"
        ) from exc


@contextmanager
def _silent() -> Iterator[None]:
    """Keep torch from printing the graphs that it cannot capture: its exception is enough."""
    previous = logging.root.manager.disable
    logging.disable(logging.ERROR)
    try:
        with (
            redirect_stdout(io.StringIO()),
            redirect_stderr(io.StringIO()),
            warnings.catch_warnings(),
        ):
            # Of weight normalisation and recurrent layers, which compute their weights anew.
            warnings.filterwarnings("ignore", "The tensor attributes? .* assigned during export")
            yield
    finally:
        logging.disable(previous)


def write_program(program: ExportedProgram) -> bytes:
    """Write a program as an archive: the same bytes for the same module in any folder."""
    buffer = io.BytesIO()
    torch.export.save(program, buffer)
    return buffer.getvalue()


def load_program(content: bytes, *, where: str) -> ExportedProgram:
    """Load a program onto the CPU; ``ArtifactError`` when it is damaged or would run code."""
    check_program_archive(content, where=where)
    _require_temporary_folder()
    try:
        with _silent():
            program = torch.export.load(io.BytesIO(content))
    except Exception as exc:  # torch's archive reader raises almost anything
        raise ArtifactError(f"torch cannot load {where}: {first_line(exc)}; export again") from exc
    if any(str(node.target).startswith("aten.from_file") for node in program.graph.nodes):
        raise ArtifactError(f"{where} opens a file when it runs; export again")
    return program
