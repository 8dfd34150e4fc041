from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import onnx
import pytest
import torch
from torch import nn

from exporter.formats.deployed import Deployed
from exporter.formats.onnx import check_contract, write_onnx
from exporter.formats.program import capture_program
from runtime.errors import ArtifactError, ParityError
from runtime.schema.features import Feature, Schema
from runtime.session import Session
from trainer.model import SimpleNet

if TYPE_CHECKING:
    from collections.abc import Callable

    from exporter.formats.model_files import ModelFiles
    from trainer.run import Run

NAME = "simplenet"


@pytest.mark.slow
def test_exporting_is_quiet(capfd: pytest.CaptureFixture[str]) -> None:
    """Torch's notices of missing packages and deprecated interfaces are suppressed."""
    schema = Schema("kind", (Feature("größe (cm)", 0, 1),), ("a", "b", "c"))
    content = write_onnx(
        capture_program(Deployed(SimpleNet(1, 3, (4, 5))).eval(), schema), schema, name=NAME
    )
    spoken = capfd.readouterr()
    assert (spoken.out, spoken.err) == ("", "")
    assert check_contract(content, schema, name=NAME, where="it").opset == 20
    assert Session(content, provider="cpu").metadata["onnxferry.features"] == '["größe (cm)"]'


class _Nearly(nn.Module):
    """Logits that are only the part that a small constant adds, many times over."""

    stored: torch.Tensor

    def __init__(self, operation: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]) -> None:
        super().__init__()
        self.operation = operation
        self.register_buffer("stored", torch.tensor(1 + 2**-18))

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        change = (self.operation(rows, self.stored) - rows) * 2.0**17
        return torch.cat([change, -change], dim=1)


@pytest.mark.parametrize(
    "operation",
    [
        lambda rows, _: rows * 0 + 1e-8 + rows * 1.0,
        lambda rows, _: rows * (1 + 2**-18),
        lambda rows, _: rows / (1 - 2**-18),
        lambda rows, stored: rows * stored,
    ],
    ids=["sum", "product", "quotient", "stored"],
)
def test_constants_that_are_nearly_neutral_stay(
    operation: Callable[[torch.Tensor, torch.Tensor], torch.Tensor],
) -> None:
    """An epsilon is added, and a factor near 1 multiplies: onnxscript would leave them out."""
    schema = Schema("kind", (Feature("x", 0, 1),), ("a", "b"))
    model, rows = _Nearly(operation), torch.tensor([[0.0], [1e-9], [1.0], [1.5]])
    content = write_onnx(capture_program(Deployed(model).eval(), schema), schema, name=NAME)
    logits = Session(content, provider="cpu").run(rows.numpy()).logits
    assert np.ptp(model(rows).numpy()) > 1e-4
    assert logits == pytest.approx(model(rows).numpy(), abs=1e-6)


def test_the_batch_is_symbolic_on_every_side(files: ModelFiles) -> None:
    """Inputs and outputs have a symbolic batch of one name."""
    graph = onnx.load_from_string(files.onnx).graph
    for value in (*graph.input, *graph.output):
        assert value.type.tensor_type.shape.dim[0].dim_param == "batch"


def test_the_file_alone_says_what_it_reads_and_answers(files: ModelFiles, run: Run) -> None:
    """Feature names, classes, schema, format and model name are in the metadata."""
    schema = run.record.schema
    assert Session(files.onnx, provider="cpu").metadata == {
        "onnxferry.features": json.dumps(list(schema.feature_names), separators=(",", ":")),
        "onnxferry.classes": json.dumps(list(schema.classes), separators=(",", ":")),
        "onnxferry.schema": schema.to_json(),
        "onnxferry.format": "1",
        "onnxferry.model": NAME,
    }


def test_nothing_of_this_machine_is_in_the_file(files: ModelFiles) -> None:
    """No doc strings, source paths or torch version."""
    model = onnx.load_from_string(files.onnx)
    parts = [model, model.graph, *model.graph.node, *model.graph.input, *model.graph.output]
    assert not any(part.doc_string for part in parts)
    assert not any(part.metadata_props for part in parts[1:])
    assert not model.graph.value_info
    assert not model.functions
    assert (model.producer_name, model.producer_version) == ("onnxferry", "1")
    for place in {*sys.path, sys.prefix, str(Path.cwd()), "site-packages"} - {""}:
        assert place.encode() not in files.onnx


@pytest.mark.parametrize(
    ("opset", "ir", "release"),
    [(20, 9, "1.17"), (20, 10, "1.18"), (21, 10, "1.18"), (22, 10, "1.22"), (23, 11, "1.23")],
)
def test_requirements_are_read_from_the_model(
    files: ModelFiles, run: Run, opset: int, ir: int, release: str
) -> None:
    """The least onnxruntime is the first that loads such an opset and IR version."""
    model = onnx.load_from_string(files.onnx)
    model.opset_import[0].version, model.ir_version = opset, ir
    content = model.SerializeToString()
    needed = check_contract(content, run.record.schema, name=NAME, where="it")
    assert (needed.onnxruntime, needed.opset, needed.ir) == (release, opset, ir)


def test_a_model_newer_than_any_engine_is_refused(files: ModelFiles, run: Run) -> None:
    """A model that no known onnxruntime runs is not published."""
    model = onnx.load_from_string(files.onnx)
    model.ir_version = 99
    with pytest.raises(ParityError, match="IR version 99"):
        check_contract(model.SerializeToString(), run.record.schema, name=NAME, where="it")


def test_bytes_that_are_no_model_are_an_artifact_error(run: Run) -> None:
    """Bytes that are no ONNX model are an ArtifactError."""
    with pytest.raises(ArtifactError, match="no ONNX model"):
        check_contract(b"%PDF-1.7", run.record.schema, name=NAME, where="it")


def test_another_model_name_is_refused(files: ModelFiles, run: Run) -> None:
    """The metadata must be of the model that is exported."""
    with pytest.raises(ParityError, match=r"onnxferry\.model = 'simplenet', the model has 'other'"):
        check_contract(files.onnx, run.record.schema, name="other", where="it")
