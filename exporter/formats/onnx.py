"""Write ``model.onnx`` and check that a file keeps the model contract.

With two classes softmax is ``1 / (1 + exp(other - own))``, and is written so: onnxruntime's Softmax
kernel works row by row and takes a third of a small model's time; these operators are vectorised
and make large batches a fifth faster (benchmarks/results/softmax.md). The odds are added by Sum,
which quantisers leave in float32: an Add would be in 8 bits, where 1 beside a million is 0, and its
reciprocal infinite.
"""

from __future__ import annotations

import logging
import warnings
from contextlib import contextmanager
from itertools import chain
from typing import TYPE_CHECKING, Final

import msgspec
import numpy as np
import onnx
import torch
from google.protobuf.message import DecodeError, Message
from onnx import helper, numpy_helper

from exporter.formats.program import BATCH
from runtime.bundle.compatibility import RELEASES, oldest_release
from runtime.bundle.manifest import FORMAT, MODEL_KEY, SCHEMA_KEY, Requirements, model_signature
from runtime.errors import ArtifactError, ParityError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch.export import ExportedProgram
    from torch.onnx import ONNXProgram

    from runtime.bundle.manifest import Tensor
    from runtime.schema.features import Schema

OPSET = 20  # fixed, so that a new torch does not raise the bundle's requirements
PROBABILITIES: Final = "probabilities"
_DATATYPES: dict[int, str] = {onnx.TensorProto.FLOAT: "FP32", onnx.TensorProto.INT64: "INT64"}
# As onnxscript compares constants, with room for its rounding.
_NEAR_ZERO: Final = 1.1e-8
_NEAR_ONE: Final = 1.1e-5
_CONSTANTS: Final = {
    "two_classes.other_less_own": np.array([[-1, 1], [1, -1]], np.float32),
    # 0 x inf is NaN: a row with an infinite logit has no finite output, as with Softmax.
    "two_classes.nothing": np.zeros((2, 2), np.float32),
    "two_classes.one": np.array(1, np.float32),
}
_DIFFERENCE, _ZEROS, _ONE = _CONSTANTS
# Operator, inputs, output; the last one makes the probabilities.
_TWO_CLASS_SOFTMAX: Final = (
    ("MatMul", ("logits", _DIFFERENCE), "other_less_own"),
    ("Exp", ("other_less_own",), "odds_of_other"),
    ("Relu", ("logits",), "above_zero"),
    ("MatMul", ("above_zero", _ZEROS), "nothing"),
    ("Sum", ("odds_of_other", "nothing", _ONE), "odds_of_all"),
    ("Reciprocal", ("odds_of_all",), PROBABILITIES),
)


def write_onnx(program: ExportedProgram, schema: Schema, *, name: str) -> bytes:
    """Convert a program to ONNX, with a symbolic batch and the schema as metadata."""
    exported: onnx.ModelProto = convert(program).model_proto
    _name_batch(exported)
    _strip(exported)
    expand_softmax(exported)
    del exported.graph.value_info[:]  # every reader infers shapes, and quantisers fail on them
    exported.producer_name, exported.producer_version = "onnxferry", str(FORMAT)
    for key, value in sorted(_metadata(schema, name).items()):
        exported.metadata_props.add(key=key, value=value)
    onnx.checker.check_model(exported, full_check=True)
    content: bytes = exported.SerializeToString(deterministic=True)
    return content


def check_contract(content: bytes, schema: Schema, *, name: str, where: str) -> Requirements:
    """Check inputs, outputs, label and metadata of an ONNX file; return what it requires.

    Raises ``ArtifactError`` where it is no ONNX model, ``ParityError`` for a broken contract.
    """
    try:
        model = onnx.load_from_string(content)
    except DecodeError as exc:
        raise ArtifactError(f"{where} is no ONNX model ({exc}); export the run again") from exc
    signature = model_signature(schema)
    for kind, found, declared in (
        ("input", model.graph.input, signature.inputs),
        ("output", model.graph.output, signature.outputs),
    ):
        got = [_describe(value) for value in found]
        expected = [_describe_declared(tensor) for tensor in declared]
        if got != expected:
            raise ParityError(f"{where} has the {kind}s {got}, the contract requires {expected}")
    _check_label(model, where)
    metadata = {entry.key: entry.value for entry in model.metadata_props}
    for key, value in _metadata(schema, name).items():
        if metadata.get(key) != value:
            raise ParityError(f"{where} has {key} = {metadata.get(key)!r}, the model has {value!r}")
    return _requirements(model, where)


def convert(program: ExportedProgram) -> ONNXProgram:
    """Convert a program with ``torch.onnx``, without the contract's metadata.

    The result holds the ONNX model and the program whose values have the same names.
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
            optimize=not has_nearly_neutral(program),
            verbose=False,
        )
    if converted is None:
        raise ParityError("torch.onnx.export returned no model; use the torch of constraints.txt")
    return converted


def has_nearly_neutral(program: ExportedProgram) -> bool:
    """Return whether a graph has a number that is nearly, but not exactly, 0 or 1.

    onnxscript's optimiser takes it for that, and leaves its addition or multiplication out.
    """
    written = (
        value
        for node in program.graph.nodes
        for value in (*node.args, *node.kwargs.values())
        if isinstance(value, float)
    )
    stored = (
        float(tensor)
        for tensor in (*program.state_dict.values(), *program.constants.values())
        if isinstance(tensor, torch.Tensor) and tensor.numel() == 1
    )
    return any(map(_is_nearly_neutral, chain(written, stored)))


def _is_nearly_neutral(number: float) -> bool:
    return 0 < abs(number) <= _NEAR_ZERO or 0 < abs(number - 1) <= _NEAR_ONE


def expand_softmax(model: onnx.ModelProto) -> None:
    """Replace the Softmax that makes the probabilities, in place, where it has two classes."""
    graph = model.graph
    at = next((at for at, node in enumerate(graph.node) if PROBABILITIES in node.output), None)
    if at is None or not _has_two_classes(graph, graph.node[at]):
        return
    softmax = graph.node[at]
    following = list(graph.node)[at + 1 :]
    del graph.node[at:]
    graph.node.extend(_two_class_nodes(softmax.name, softmax.input[0]))
    graph.node.extend(following)
    graph.initializer.extend(
        numpy_helper.from_array(value, name) for name, value in _CONSTANTS.items()
    )


def _has_two_classes(graph: onnx.GraphProto, node: onnx.NodeProto) -> bool:
    """Return whether a node is the softmax over each row's two classes."""
    shape = next(
        value.type.tensor_type.shape for value in graph.output if value.name == PROBABILITIES
    )
    axes = [attribute.i for attribute in node.attribute if attribute.name == "axis"]
    return node.op_type == "Softmax" and axes in ([1], [-1], []) and shape.dim[-1].dim_value == 2  # noqa: PLR2004 - two classes


def _two_class_nodes(name: str, logits: str) -> list[onnx.NodeProto]:
    """Make the nodes that replace the Softmax of that name; the last one keeps it."""
    values = {value: f"{name}/{value}" for _, _, value in _TWO_CLASS_SOFTMAX} | {"logits": logits}
    values |= {kept: kept for kept in (PROBABILITIES, *_CONSTANTS)}
    return [
        helper.make_node(
            operator,
            [values[value] for value in inputs],
            [values[output]],
            name if output == PROBABILITIES else values[output],
        )
        for operator, inputs, output in _TWO_CLASS_SOFTMAX
    ]


def _name_batch(exported: onnx.ModelProto) -> None:
    """Rename the symbolic batch, which torch numbers, to ``batch``; a frozen one stays."""
    given = exported.graph.input[0].type.tensor_type.shape.dim[0].dim_param
    for value in (*exported.graph.input, *exported.graph.output):
        for dimension in value.type.tensor_type.shape.dim:
            if given and dimension.dim_param == given:
                dimension.dim_param = BATCH


@contextmanager
def _quiet() -> Iterator[None]:
    """Suppress the notices that torch's exporter emits on every run, and nothing else."""
    registration = logging.getLogger("torch.onnx._internal.exporter._registration")
    registration.addFilter(_is_unexpected)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", r".*LeafSpec.* is deprecated", category=FutureWarning)
            yield
    finally:
        registration.removeFilter(_is_unexpected)


def _is_unexpected(record: logging.LogRecord) -> bool:
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


def _describe_declared(tensor: Tensor) -> str:
    sizes = [BATCH if size < 0 else size for size in tensor.shape]
    return f"{tensor.name}: {tensor.datatype} {sizes}"


def _check_label(model: onnx.ModelProto, where: str) -> None:
    """Check how ties are broken in the graph: exact ties are too rare to find by running it."""
    producers = [node for node in model.graph.node if "label" in node.output]
    # torch copies a value that is returned twice, so the logits may be an Identity of it.
    copied = {
        node.output[0]: node.input[0] for node in model.graph.node if node.op_type == "Identity"
    }
    logits = {"logits", copied.get("logits", "logits")}
    if [node.op_type for node in producers] != ["ArgMax"] or producers[0].input[0] not in logits:
        raise ParityError(f"{where} does not take its label from the logits by ArgMax")
    for attribute in producers[0].attribute:
        if attribute.name == "select_last_index" and attribute.i:
            raise ParityError(f"{where} returns the last of equal classes, the contract the first")


def _requirements(model: onnx.ModelProto, where: str) -> Requirements:
    opset = max(entry.version for entry in model.opset_import if entry.domain in {"", "ai.onnx"})
    release = oldest_release(opset, model.ir_version)
    if release is None:
        raise ParityError(
            f"{where} needs opset {opset} and IR version {model.ir_version}: "
            f"no onnxruntime up to {RELEASES[-1][0]} is known to run it"
        )
    return Requirements(onnxruntime=release, opset=opset, ir=model.ir_version)
