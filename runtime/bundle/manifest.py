"""The bundle's manifest, format 1."""

from __future__ import annotations

from typing import Final, Literal, TypeVar

import msgspec

from runtime.errors import ArtifactError
from runtime.schema.features import Schema

FORMAT: Final = 1
MANIFEST = "manifest.json"
ONNX_MODEL = "model.onnx"
TORCHSCRIPT_MODEL = "model.torchscript.pt"
PROGRAM_MODEL = "model.pt2"
GOLDEN = "golden.npz"
PARITY = "parity.json"
REPORT = "report.html"
# Under these names an ONNX file carries what the manifest says, so that it is usable alone.
SCHEMA_KEY = "onnxferry.schema"
MODEL_KEY = "onnxferry.model"

Scalar = str | int | float | bool | None
T = TypeVar("T", bound=msgspec.Struct)


class Record(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A value that is stored as JSON: strict about unknown keys; subclasses say ``frozen``."""


class File(Record, frozen=True):
    """Digest and size of one file of the bundle.

    Attributes:
        sha256: lower-case hexadecimal SHA-256 of the content.
        size: bytes.
    """

    sha256: str
    size: int


class Tensor(Record, frozen=True):
    """Name, datatype and shape of a model's input or output.

    Attributes:
        name: tensor name.
        datatype: as the Open Inference Protocol v2 spells it: ``FP32``, ``INT64``.
        shape: -1 stands for the batch.
    """

    name: str
    datatype: Literal["FP32", "INT64"]
    shape: tuple[int, ...]


class Signature(Record, frozen=True):
    """The model's inputs and outputs in Open Inference Protocol v2 terms."""

    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]


class Model(Record, frozen=True):
    """Name of the model and its version, a digest of the model's content."""

    name: str
    version: str


class Provenance(Record, frozen=True):
    """Provenance of the model.

    Attributes:
        seed: of the training run; None for a model that was trained elsewhere.
        data_digest: SHA-256 of the training and test tensors; None likewise.
        configuration: every option of the training run.
        versions: of the packages that trained and exported it.
    """

    seed: int | None
    data_digest: str | None
    configuration: dict[str, Scalar]
    versions: dict[str, str]


class Requirements(Record, frozen=True):
    """What an onnxruntime must offer to run ``model.onnx``."""

    onnxruntime: str
    opset: int
    ir: int


class Manifest(Record, frozen=True):
    """Everything a bundle says of itself.

    Attributes:
        format: version of the bundle format.
        model: name and content version.
        schema: the columns and classes.
        signature: the model's inputs and outputs.
        files: the other files of the bundle, by name relative to it.
        training: metrics measured by the trainer, by name.
        provenance: seed, data, configuration and versions.
        requires: the least engine that runs the model.
    """

    format: Literal[1]
    model: Model
    schema: Schema
    signature: Signature
    files: dict[str, File]
    training: dict[str, float]
    provenance: Provenance
    requires: Requirements

    def to_json(self) -> bytes:
        """Write the manifest as indented JSON, the same bytes for the same content."""
        return to_json(self)


def model_signature(schema: Schema) -> Signature:
    """Derive the model contract's inputs and outputs from a schema."""
    return Signature(
        inputs=(Tensor("features", "FP32", (-1, schema.n_inputs)),),
        outputs=(
            Tensor("label", "INT64", (-1,)),
            Tensor("probabilities", "FP32", (-1, schema.n_classes)),
            Tensor("logits", "FP32", (-1, schema.n_classes)),
        ),
    )


def parse_manifest(content: bytes, *, where: str) -> Manifest:
    """Read a manifest."""
    return parse_record(content, Manifest, known_format=FORMAT, where=where)


def parse_record(content: bytes, kind: type[T], *, known_format: int, where: str) -> T:
    """Read a JSON record that carries a ``format`` number."""
    try:
        found = msgspec.json.decode(content, type=_Versioned).format
        if found == known_format:
            return msgspec.json.decode(content, type=kind)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as exc:
        raise ArtifactError(f"{where} is damaged: {exc}; make it again") from exc
    raise ArtifactError(
        f"{where} is of format {found}; this release reads format {known_format}: "
        "use the release that wrote it, or make it again"
    )


def to_json(record: msgspec.Struct) -> bytes:
    """Write a record as indented JSON, the same bytes for the same content."""
    return msgspec.json.format(msgspec.json.encode(record), indent=2) + b"\n"


class _Versioned(msgspec.Struct):
    format: int
