"""The exported graph after onnxruntime's static quantisation, beside one with Softmax."""

from __future__ import annotations

from itertools import product, starmap
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pytest

from exporter.formats.deployed import Deployed
from exporter.formats.onnx import convert
from exporter.formats.program import capture_program
from runtime.session import Session

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from exporter.formats.model_files import ModelFiles
    from runtime.schema.features import Float32Matrix
    from runtime.session import Outputs
    from trainer.run import Run


class Settings(NamedTuple):
    """What ``quantize_static`` is told."""

    form: str
    numbers: str
    per_channel: bool


SETTINGS = list(
    starmap(Settings, product(("QDQ", "QOperator"), ("QUInt8", "QInt8"), (False, True)))
)


@pytest.fixture(scope="module")
def softmax(run: Run) -> bytes:
    """The same network as torch exports it, with Softmax."""
    program = capture_program(Deployed(run.model).eval(), run.record.schema)
    content: bytes = convert(program).model_proto.SerializeToString()
    return content


class Rows:
    """Calibration rows in batches, as a ``CalibrationDataReader``."""

    def __init__(self, features: Float32Matrix) -> None:
        self._batches: Iterator[Float32Matrix] = iter(np.array_split(features, 4))

    def get_next(self) -> dict[str, Float32Matrix] | None:
        batch = next(self._batches, None)
        return None if batch is None else {"features": batch}


def quantised(content: bytes, features: Float32Matrix, settings: Settings, folder: Path) -> Outputs:
    """Quantise a model with rows and run it on them."""
    # Imported after a session of ours, which switches telemetry off.
    from onnxruntime.quantization import QuantFormat, QuantType, quantize_static

    (folder / "float32.onnx").write_bytes(content)
    quantize_static(
        folder / "float32.onnx",
        folder / "int8.onnx",
        Rows(features),
        quant_format=QuantFormat[settings.form],
        activation_type=QuantType[settings.numbers],
        weight_type=QuantType.QInt8,
        per_channel=settings.per_channel,
    )
    return Session((folder / "int8.onnx").read_bytes(), provider="cpu").run(features)


@pytest.mark.parametrize("settings", SETTINGS, ids=str)
@pytest.mark.parametrize("scale", [1, 8], ids=["inside", "far outside"])
def test_a_quantised_file_answers_as_well_as_with_softmax(
    run: Run, files: ModelFiles, softmax: bytes, tmp_path: Path, settings: Settings, scale: int
) -> None:
    """In 8 bits all probabilities are finite, and labels and probabilities as near."""
    features = run.rows.train_features.numpy() * np.float32(scale)
    exact = Session(files.onnx, provider="cpu").run(features)
    ours, plain = (
        quantised(content, features, settings, tmp_path) for content in (files.onnx, softmax)
    )
    assert ours.is_finite
    assert (ours.label == exact.label).sum() >= (plain.label == exact.label).sum()
    error, plain_error = (np.abs(one.probabilities - exact.probabilities) for one in (ours, plain))
    assert error.max() <= 2 * plain_error.max()
