"""Bundles, tables and the command ``runtime`` for the tests of the torch-free runtime.

``make_bundle`` writes real ONNX models without the onnx package, which is not installed where
these tests have to run: a dozen protobuf fields are enough for Gemm, Softmax and ArgMax.
"""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from runtime.bundle.golden import Golden, save_golden
from runtime.bundle.manifest import (
    GOLDEN,
    MANIFEST,
    MODEL_KEY,
    ONNX_MODEL,
    SCHEMA_KEY,
    Manifest,
    Model,
    Provenance,
    Requirements,
    model_signature,
)
from runtime.bundle.reading import digest
from runtime.predictor import Predictor
from runtime.schema.features import Feature, Schema

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_FLOAT, _INT64 = 1, 7  # TensorProto.DataType


@pytest.fixture(scope="session")
def environment(environment: dict[str, str]) -> dict[str, str]:
    """The environment, with standard output buffered as for users."""
    return {name: value for name, value in environment.items() if name != "PYTHONUNBUFFERED"}


@pytest.fixture(scope="session")
def bundle() -> Path:
    """The bundle kept with the tests: features price and rating, classes no and yes."""
    return Path(__file__).parents[1] / "data" / "bundle"


@pytest.fixture(scope="session")
def sales_bundle() -> Path:
    """A bundle with imputed features and categories.

    Price, colour (red, green, "blå, mørk" or missing), rating (may be missing), size (S, M, L).
    """
    return Path(__file__).parents[1] / "data" / "sales"


@pytest.fixture
def bundle_copy(bundle: Path, tmp_path: Path) -> Path:
    """A copy of the bundle to damage."""
    return Path(shutil.copytree(bundle, tmp_path / "bundle"))


@pytest.fixture(scope="session")
def predictor(bundle: Path) -> Predictor:
    """The bundle, opened on the CPU."""
    return Predictor(bundle, provider="cpu")


@pytest.fixture(scope="session")
def products() -> bytes:
    """Two hundred products with columns that the model does not read."""
    rows = [f"{n},{1 + n % 9}.5,{1 + n % 4}.25,item {n}\n" for n in range(200)]
    return "".join(["id,price,rating,name\n", *rows]).encode()


@pytest.fixture
def run_command(
    environment: dict[str, str], tmp_path: Path
) -> Callable[..., subprocess.CompletedProcess[bytes]]:
    """Run ``runtime`` in a process of its own, in an empty folder."""

    def run(
        *arguments: object, stdin: bytes = b"", env: dict[str, str] | None = None
    ) -> subprocess.CompletedProcess[bytes]:
        return subprocess.run(
            [sys.executable, "-m", "runtime", *map(str, arguments)],
            input=stdin,
            capture_output=True,
            cwd=tmp_path,
            env={**environment, **(env or {})},
            timeout=120,
            check=False,
        )

    return run


@pytest.fixture
def null_device(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A null device that a faulty test may destroy."""
    return _device(tmp_path_factory, Path("/dev/null"))


@pytest.fixture
def full_device(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A device without space."""
    return _device(tmp_path_factory, Path("/dev/full"))


def _device(tmp_path_factory: pytest.TempPathFactory, path: Path) -> Path:
    """The system's device, or a node of its own for root, who could replace it."""
    if not path.exists():
        pytest.skip(f"needs {path} of Linux")
    if not os.access(path.parent, os.W_OK):
        return path
    own = tmp_path_factory.mktemp("devices") / path.name
    try:
        os.mknod(own, 0o666 | stat.S_IFCHR, path.stat().st_rdev)
        own.open("wb").close()
    except OSError as exc:
        pytest.skip(f"cannot make a device like {path} here: {exc.strerror}")
    return own


@pytest.fixture
def make_bundle(tmp_path: Path) -> Callable[..., Path]:
    """Write a bundle of a linear model with any features and classes.

    With ``bias``, ``scale`` or ``model_inputs`` the model is not the one of its golden rows.
    """

    def make(
        features: Sequence[str | Feature] = ("price", "rating"),
        classes: Sequence[str] = ("no", "yes"),
        *,
        bias: float = 0.0,
        scale: float = 1.0,
        model_inputs: int | None = None,
        name: str = "linear",
    ) -> Path:
        columns = (Feature(one, 0, 10) if isinstance(one, str) else one for one in features)
        schema = Schema("target", tuple(columns), tuple(classes))
        random = np.random.default_rng(len(features) * 1000 + len(classes))
        inputs = model_inputs or schema.n_inputs
        weight = random.normal(size=(inputs, len(classes))).astype(np.float32)
        metadata = {SCHEMA_KEY: schema.to_json(), MODEL_KEY: name}
        model = _encode_model(
            weight * np.float32(scale), np.full(len(classes), bias, np.float32), metadata
        )
        golden = save_golden(_golden(random, weight[: schema.n_inputs]))
        manifest = Manifest(
            format=1,
            model=Model(name, digest(model).sha256[:12]),
            schema=schema,
            signature=model_signature(schema),
            files={ONNX_MODEL: digest(model), GOLDEN: digest(golden)},
            training={},
            provenance=Provenance(0, "none", {}, {}),
            requires=Requirements("1.20", 20, 10),
        )
        folder = tmp_path / "made"
        folder.mkdir()
        (folder / ONNX_MODEL).write_bytes(model)
        (folder / GOLDEN).write_bytes(golden)
        (folder / MANIFEST).write_bytes(manifest.to_json())
        return folder

    return make


def _golden(random: np.random.Generator, weight: np.ndarray) -> Golden:
    features = random.uniform(0, 1, size=(3, weight.shape[0])).astype(np.float32)
    logits = features.astype(np.float64) @ weight.astype(np.float64)  # (3, classes)
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return Golden(
        features=features,
        label=logits.argmax(axis=1),
        probabilities=powers / powers.sum(axis=1, keepdims=True),
        logits=logits,
        probabilities_bound=np.full_like(logits, 1e-4),
        logits_bound=np.full_like(logits, 1e-3),
        decidable=np.ones(3, dtype=np.bool_),
    )


def _encode_model(weight: np.ndarray, bias: np.ndarray, metadata: dict[str, str]) -> bytes:
    """Write ``onnx.ModelProto``; field numbers from onnx.proto3."""
    inputs, classes = weight.shape
    graph = b"".join(
        [
            _field(1, _node("Gemm", ["features", "weight", "bias"], "logits")),
            _field(1, _node("Softmax", ["logits"], "probabilities", axis=1)),
            _field(1, _node("ArgMax", ["logits"], "label", axis=1, keepdims=0)),
            _field(2, b"linear"),
            _field(5, _tensor("weight", weight)),
            _field(5, _tensor("bias", bias)),
            _field(11, _value("features", _FLOAT, inputs)),
            _field(12, _value("label", _INT64)),
            _field(12, _value("probabilities", _FLOAT, classes)),
            _field(12, _value("logits", _FLOAT, classes)),
        ]
    )
    opset = _field(1, b"") + _number(2, 20)
    entries = b"".join(
        _field(14, _field(1, key.encode()) + _field(2, value.encode()))
        for key, value in metadata.items()
    )
    return _number(1, 10) + _field(7, graph) + _field(8, opset) + entries


def _node(kind: str, inputs: Sequence[str], output: str, **attributes: int) -> bytes:
    names = b"".join(_field(1, name.encode()) for name in inputs)
    values = b"".join(
        _field(5, _field(1, name.encode()) + _number(3, value) + _number(20, 2))
        for name, value in attributes.items()
    )
    return names + _field(2, output.encode()) + _field(4, kind.encode()) + values


def _tensor(name: str, values: np.ndarray) -> bytes:
    sizes = b"".join(_number(1, size) for size in values.shape)
    return sizes + _number(2, _FLOAT) + _field(8, name.encode()) + _field(9, values.tobytes())


def _value(name: str, kind: int, *sizes: int) -> bytes:
    dimensions = _field(1, _field(2, b"batch"))
    dimensions += b"".join(_field(1, _number(1, size)) for size in sizes)
    tensor = _number(1, kind) + _field(2, dimensions)
    return _field(1, name.encode()) + _field(2, _field(1, tensor))


def _field(number: int, content: bytes) -> bytes:
    return _varint(number << 3 | 2) + _varint(len(content)) + content


def _number(number: int, value: int) -> bytes:
    return _varint(number << 3) + _varint(value)


def _varint(value: int) -> bytes:
    if value < 1 << 7:
        return bytes([value])
    return bytes([value & 127 | 128]) + _varint(value >> 7)
