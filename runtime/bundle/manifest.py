"""The manifest of a bundle, format 1."""

from __future__ import annotations

from typing import Final, Literal, TypeVar

import msgspec

from runtime.errors import ArtifactError
from runtime.schema.features import Schema
from runtime.value import Record

FORMAT: Final = 1
MANIFEST = "manifest.json"
SIGNATURE = "model.sig"
ONNX_MODEL = "model.onnx"
TORCHSCRIPT_MODEL = "model.torchscript.pt"
PROGRAM_MODEL = "model.pt2"
GOLDEN = "golden.npz"
PARITY = "parity.json"
REPORT = "report.html"
# Keys of the ONNX file's metadata_props, which make it usable without the manifest.
SCHEMA_KEY = "onnxferry.schema"
MODEL_KEY = "onnxferry.model"

Scalar = str | int | float | bool | None
T = TypeVar("T", bound=msgspec.Struct)


class File(Record, frozen=True):
    """Digest and size of a file of the bundle.

    Attributes:
        sha256: lower-case hexadecimal SHA-256 of the content.
        size: bytes.
    """

    sha256: str
    size: int


class Tensor(Record, frozen=True):
    """Name, datatype and shape of an input or output of the model.

    Attributes:
        name: tensor name.
        datatype: of the Open Inference Protocol v2: ``FP32``, ``INT64``.
        shape: -1 is the batch size.
    """

    name: str
    datatype: Literal["FP32", "INT64"]
    shape: tuple[int, ...]


class Signature(Record, frozen=True):
    """Inputs and outputs of the model, as in the Open Inference Protocol v2."""

    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]


class Model(Record, frozen=True):
    """Name of the model and its version, a digest of its content."""

    name: str
    version: str


class Provenance(Record, frozen=True):
    """Origin of the model.

    Attributes:
        seed: of the training run; None for a model trained elsewhere.
        data_digest: SHA-256 of the training and test tensors; None for a model trained elsewhere.
        configuration: all options of the training run.
        versions: of the packages that trained and exported the model.
        rejected_rows: bad rows of the training table that were left out, by reason; unset without
            ``bad_rows="reject"``.
        left_out_columns: columns of the training table that are no features, with the reason;
            unset if there were none.
    """

    seed: int | None
    data_digest: str | None
    configuration: dict[str, Scalar]
    versions: dict[str, str]
    rejected_rows: dict[str, int] | msgspec.UnsetType = msgspec.UNSET
    left_out_columns: dict[str, str] | msgspec.UnsetType = msgspec.UNSET


class Requirements(Record, frozen=True):
    """Oldest onnxruntime that runs ``model.onnx``, with its opset and IR version."""

    onnxruntime: str
    opset: int
    ir: int


class Manifest(Record, frozen=True):
    """Contents and metadata of a bundle.

    Attributes:
        format: version of the bundle's format.
        model: name and content version.
        schema: features and classes.
        signature: inputs and outputs of the model.
        files: the other files of the bundle, by their path in it.
        training: metrics of the training run, by name.
        provenance: seed, data, configuration and versions.
        requires: what the model needs of onnxruntime.
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
        """Serialize the manifest as indented JSON, reproducible to the byte."""
        return to_json(self)


def model_signature(schema: Schema) -> Signature:
    """Derive the inputs and outputs of a model from its schema."""
    return Signature(
        inputs=(Tensor("features", "FP32", (-1, schema.n_inputs)),),
        outputs=(
            Tensor("label", "INT64", (-1,)),
            Tensor("probabilities", "FP32", (-1, schema.n_classes)),
            Tensor("logits", "FP32", (-1, schema.n_classes)),
        ),
    )


def parse_manifest(content: bytes, *, where: str) -> Manifest:
    """Parse a manifest."""
    return parse_record(content, Manifest, known_format=FORMAT, where=where)


def parse_record(content: bytes, kind: type[T], *, known_format: int, where: str) -> T:
    """Parse a JSON record with a ``format`` number."""
    try:
        found = msgspec.json.decode(content, type=_Versioned).format
        if found == known_format:
            return msgspec.json.decode(content, type=kind)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as exc:
        raise ArtifactError(f"{where} is damaged: {exc}; create it again") from exc
    raise ArtifactError(
        f"{where} is of format {found}; this release reads format {known_format}: "
        "use the release that wrote it, or create it again"
    )


def to_json(record: msgspec.Struct) -> bytes:
    """Serialize a record as indented JSON, reproducible to the byte."""
    return msgspec.json.format(msgspec.json.encode(record), indent=2) + b"\n"


class _Versioned(msgspec.Struct):
    format: int
