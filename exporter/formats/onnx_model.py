"""Write ``model.onnx`` and check that a file keeps the model contract.

In: an exported program and its schema. Out: bytes, the same for the same weights in any folder.
An exporter's model that breaks the contract (a frozen batch, other names, foreign metadata) is a
``ParityError``; bytes that are no ONNX model are an ``ArtifactError``.
"""

from __future__ import annotations

import logging
import warnings
from contextlib import contextmanager
from typing import TYPE_CHECKING

import msgspec
import onnx
import torch
from google.protobuf.message import (
    DecodeError,
    Message,
)

from exporter.formats.program import BATCH
from exporter.formats.two_classes import expand_softmax
from runtime.bundle.compatibility import RELEASES, oldest_release
from runtime.bundle.manifest import FORMAT, MODEL_KEY, SCHEMA_KEY, Requirements, model_signature
from runtime.errors import ArtifactError, ParityError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch.export import ExportedProgram
    from torch.onnx import ONNXProgram

    from runtime.bundle.manifest import Tensor
    from runtime.schema.features import Schema

OPSET = 20  # fixed, so that a new torch does not change what the bundle asks of its engine
_DATATYPES: dict[int, str] = {onnx.TensorProto.FLOAT: "FP32", onnx.TensorProto.INT64: "INT64"}


def write_onnx(program: ExportedProgram, schema: Schema, *, name: str) -> bytes:
    """Convert a program to ONNX, with a symbolic batch and the schema as metadata.

    Args:
        program: with the contract's outputs.
        schema: written into the metadata, so that the file alone is usable anywhere.
        name: of the model.

    Returns:
        The file's bytes.
    """
    exported: onnx.ModelProto = convert(program).model_proto
    _name_batch(exported)
    _strip(exported)
    expand_softmax(exported)
    del exported.graph.value_info[:]  # shapes that every reader infers, and quantisers trip over
    exported.producer_name, exported.producer_version = "onnxferry", str(FORMAT)
    for key, value in sorted(_metadata(schema, name).items()):
        exported.metadata_props.add(key=key, value=value)
    onnx.checker.check_model(exported, full_check=True)
    content: bytes = exported.SerializeToString(deterministic=True)
    return content


def check_contract(content: bytes, schema: Schema, *, name: str, where: str) -> Requirements:
    """Check that an ONNX file has the contract's inputs, outputs and metadata.

    Args:
        content: of the file.
        schema: that the file must carry.
        name: of the model.
        where: path for messages.

    Returns:
        What an engine must offer to run it.

    Raises:
        ArtifactError: when the bytes are no ONNX model.
        ParityError: when the model breaks the contract.
    """
    try:
        model = onnx.load_from_string(content)
    except DecodeError as exc:
        raise ArtifactError(f"{where} is no ONNX model ({exc}); export the run again") from exc
    signature = model_signature(schema)
    for kind, found, promised in (
        ("input", model.graph.input, signature.inputs),
        ("output", model.graph.output, signature.outputs),
    ):
        got = [_describe(value) for value in found]
        expected = [_describe_promised(tensor) for tensor in promised]
        if got != expected:
            raise ParityError(f"{where} has the {kind}s {got}, the contract asks for {expected}")
    _check_label(model, where)
    metadata = {entry.key: entry.value for entry in model.metadata_props}
    for key, value in _metadata(schema, name).items():
        if metadata.get(key) != value:
            raise ParityError(
                f"{where} says {key} = {metadata.get(key)!r}, the model has {value!r}"
            )
    return _requirements(model, where)


def convert(program: ExportedProgram) -> ONNXProgram:
    """Convert a program to ONNX as torch does, without the contract's names and metadata.

    Args:
        program: with the contract's outputs.

    Returns:
        What torch made: the ONNX model, and the program whose values have the model's names.

    Raises:
        ParityError: when torch made nothing.
    """
    with _quiet():
        converted = torch.onnx.export(
            program,
            (),
            dynamo=True,
            input_names=["features"],
            output_names=["label", "probabilities", "logits"],
            opset_version=OPSET,
            external_data=False,
            verbose=False,
        )
    if converted is None:
        raise ParityError("torch.onnx.export returned no model; use the torch of constraints.txt")
    return converted


def _name_batch(exported: onnx.ModelProto) -> None:
    """Call the symbolic batch ``batch``, which torch names by a counter; a frozen one stays."""
    given = exported.graph.input[0].type.tensor_type.shape.dim[0].dim_param
    for value in (*exported.graph.input, *exported.graph.output):
        for dimension in value.type.tensor_type.shape.dim:
            if given and dimension.dim_param == given:
                dimension.dim_param = BATCH


@contextmanager
def _quiet() -> Iterator[None]:
    """Expect what torch's exporter says of itself on every run, and nothing else."""
    registration = logging.getLogger("torch.onnx._internal.exporter._registration")
    registration.addFilter(_is_news)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", r".*LeafSpec.* is deprecated", category=FutureWarning)
            yield
    finally:
        registration.removeFilter(_is_news)


def _is_news(record: logging.LogRecord) -> bool:
    return "torchvision is not installed" not in record.getMessage()


def _strip(message: Message) -> None:
    """Clear doc strings and metadata at every level: they name source files of this machine."""
    for name in ("doc_string", "metadata_props"):
        if name in message.DESCRIPTOR.fields_by_name:
            message.ClearField(name)
    for field, value in message.ListFields():
        if field.message_type is not None:
            for part in value if field.is_repeated else (value,):
                _strip(part)


def _metadata(schema: Schema, name: str) -> dict[str, str]:
    return {
        "onnxferry.classes": msgspec.json.encode(schema.classes).decode(),
        "onnxferry.features": msgspec.json.encode(schema.inputs).decode(),
        "onnxferry.format": str(FORMAT),
        MODEL_KEY: name,
        SCHEMA_KEY: schema.to_json(),
    }


def _describe(value: onnx.ValueInfoProto) -> str:
    tensor = value.type.tensor_type
    sizes = [dimension.dim_param or dimension.dim_value for dimension in tensor.shape.dim]
    return f"{value.name}: {_DATATYPES.get(tensor.elem_type, 'other')} {sizes}"


def _describe_promised(tensor: Tensor) -> str:
    sizes = [BATCH if size < 0 else size for size in tensor.shape]
    return f"{tensor.name}: {tensor.datatype} {sizes}"


def _check_label(model: onnx.ModelProto, where: str) -> None:
    """Look at how ties are decided: exact ties are too rare to count on when it is run."""
    makers = [node for node in model.graph.node if "label" in node.output]
    # A model that returns a value it has already has logits that are a copy of it.
    copied = {
        node.output[0]: node.input[0] for node in model.graph.node if node.op_type == "Identity"
    }
    logits = {"logits", copied.get("logits", "logits")}
    if [node.op_type for node in makers] != ["ArgMax"] or makers[0].input[0] not in logits:
        raise ParityError(f"{where} does not take its label from the logits by ArgMax")
    for attribute in makers[0].attribute:
        if attribute.name == "select_last_index" and attribute.i:
            raise ParityError(f"{where} answers the last of equal classes, the contract the first")


def _requirements(model: onnx.ModelProto, where: str) -> Requirements:
    opset = max(entry.version for entry in model.opset_import if entry.domain in {"", "ai.onnx"})
    release = oldest_release(opset, model.ir_version)
    if release is None:
        raise ParityError(
            f"{where} needs opset {opset} and IR version {model.ir_version}: "
            f"no onnxruntime up to {RELEASES[-1][0]} is known to run it"
        )
    return Requirements(onnxruntime=release, opset=opset, ir=model.ir_version)
