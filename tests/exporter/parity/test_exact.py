"""Contracts that hold to the last bit, for the network that the trainer fits."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from exporter.parity.backends import run_numpy, session_configs
from exporter.parity.cells import are_same, have_same_logits, run_in_batches
from exporter.parity.rows import BATCHES
from runtime.session import Session

if TYPE_CHECKING:
    from exporter.formats.model_files import ModelFiles
    from exporter.parity.backends import SessionConfig
    from exporter.parity.report import Report
    from exporter.parity.rows import ParityRows
    from exporter.reference.layers import Layer
    from runtime.schema.features import Float32Matrix
    from runtime.session import Outputs

ON_CPU = [config for config in session_configs() if config.provider == "cpu"]


@pytest.fixture(scope="module")
def expected(files: ModelFiles, rows: ParityRows) -> Outputs:
    """The outputs of the serving session for all rows at once."""
    return Session(files.onnx, provider="cpu").run(rows.features)


def multiply_and_add(layers: tuple[Layer, ...], features: Float32Matrix) -> Float32Matrix:
    """Each product added as it comes, first to last, by fused multiply-adds; then the bias."""
    values = features
    for position, layer in enumerate(layers):
        values = np.maximum(values, 0) if position else values
        total = np.zeros((len(values), len(layer.bias)), np.float32)
        for column in range(layer.weight.shape[1]):
            product = values[:, column, None].astype(np.float64) * layer.weight[:, column]
            total = (total + product).astype(np.float32)  # rounded once
        values = total + layer.bias
    return values


@pytest.mark.parametrize("config", ON_CPU, ids=lambda config: config.name)
def test_onnx_on_cpu_computes_a_row_alike_in_every_batch(
    config: SessionConfig, files: ModelFiles, rows: ParityRows, expected: Outputs
) -> None:
    """Every bit of every output, special rows included, at any batch, level and thread count."""
    session = config.open(files.onnx, where="it")
    for batch in BATCHES[1:]:
        outputs = run_in_batches(session.run, rows.features, batch, expected.logits.shape[1])
        assert are_same(outputs, expected), batch


def test_onnx_on_cpu_is_numpy_in_float32(
    layers: tuple[Layer, ...], rows: ParityRows, expected: Outputs
) -> None:
    """The logits of one product over all rows have the same bits as numpy's, and the labels."""
    outputs = run_numpy(layers)(rows.features)
    assert have_same_logits(outputs, expected)
    assert np.array_equal(outputs.label, expected.label)


def test_onnx_on_cpu_sums_from_first_to_last(
    layers: tuple[Layer, ...], rows: ParityRows, expected: Outputs
) -> None:
    """The logits are the bits of fused multiply-adds in order, written out without a library."""
    with np.errstate(all="ignore"):
        logits = multiply_and_add(layers, rows.features)
    inside = slice(rows.inside)  # emulated: beyond float32's range float64 does not overflow
    assert np.array_equal(logits[inside].view(np.int32), expected.logits[inside].view(np.int32))


def test_the_proof_says_what_is_equal(report: Report) -> None:
    """As stored: torch's files have the bits of eager, all ONNX backends the same bits."""
    assert report
    for batch in BATCHES[1:]:
        for name in ("torchscript", "program"):
            assert "eager" in report.cell(name, batch).bit_equal_to, (name, batch)
        for config in ON_CPU:
            cell = report.cell(config.name, batch)
            assert cell.batch_invariant, (config.name, batch)
            assert config is ON_CPU[0] or ON_CPU[0].name in cell.bit_equal_to
    assert "numpy" in report.cell(ON_CPU[0].name, BATCHES[-1]).logits_bit_equal_to
