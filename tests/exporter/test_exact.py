"""Contracts that hold to the last bit, for the network that the trainer fits."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from exporter.proof.reference import answer_by_numpy
from exporter.proof.running import are_same, have_same_logits, run_in_batches
from exporter.proof.settings import settings
from exporter.rows.plan import BATCHES
from runtime.session import Session

if TYPE_CHECKING:
    from exporter.formats.model_files import ModelFiles
    from exporter.proof.parity import Report
    from exporter.proof.settings import Setting
    from exporter.rows.blocks import ProofRows
    from exporter.truth.layer import Layer
    from runtime.schema.features import Float32Matrix
    from runtime.session import Outputs

ON_CPU = [setting for setting in settings() if setting.provider == "cpu"]


@pytest.fixture(scope="module")
def expected(files: ModelFiles, rows: ProofRows) -> Outputs:
    """What the session that serves answers for all rows at once."""
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


@pytest.mark.parametrize("setting", ON_CPU, ids=lambda setting: setting.name)
def test_onnx_on_cpu_answers_a_row_alike_in_every_batch(
    setting: Setting, files: ModelFiles, rows: ProofRows, expected: Outputs
) -> None:
    """Every bit of every output, special rows included, at any batch, level and thread count."""
    session = setting.open(files.onnx, where="it")
    for batch in BATCHES[1:]:
        answers = run_in_batches(session.run, rows.features, batch, expected.logits.shape[1])
        assert are_same(answers, expected), batch


def test_onnx_on_cpu_is_numpy_in_float32(
    layers: tuple[Layer, ...], rows: ProofRows, expected: Outputs
) -> None:
    """The logits of one product over all rows have the same bits as numpy's, and the labels."""
    answers = answer_by_numpy(layers)(rows.features)
    assert have_same_logits(answers, expected)
    assert np.array_equal(answers.label, expected.label)


def test_onnx_on_cpu_sums_from_first_to_last(
    layers: tuple[Layer, ...], rows: ProofRows, expected: Outputs
) -> None:
    """The logits are the bits of fused multiply-adds in order, written out without a library."""
    with np.errstate(all="ignore"):
        logits = multiply_and_add(layers, rows.features)
    inside = slice(rows.inside)  # emulated: beyond float32's range float64 does not overflow
    assert np.array_equal(logits[inside].view(np.int32), expected.logits[inside].view(np.int32))


def test_the_proof_says_what_is_equal(report: Report) -> None:
    """The stored facts: torch's files are eager's bits, ONNX is one set of bits throughout."""
    assert report
    for batch in BATCHES[1:]:
        for name in ("torchscript", "program"):
            assert "eager" in report.cell(name, batch).bit_equal_to, (name, batch)
        for setting in ON_CPU:
            cell = report.cell(setting.name, batch)
            assert cell.batch_invariant, (setting.name, batch)
            assert setting is ON_CPU[0] or ON_CPU[0].name in cell.bit_equal_to
    assert "numpy" in report.cell(ON_CPU[0].name, BATCHES[-1]).logits_bit_equal_to
