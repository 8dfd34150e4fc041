"""Faults of ``model.onnx`` alone, as a converter, a tool or manual edits make them."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import onnx
from onnx import numpy_helper

from faults.fault import Fault, Good

if TYPE_CHECKING:
    from collections.abc import Callable

    from exporter.formats.model_files import ModelFiles


def _node(model: onnx.ModelProto, kind: str) -> onnx.NodeProto:
    nodes: list[onnx.NodeProto] = [node for node in model.graph.node if node.op_type == kind]
    return nodes[0]


def _operator(old: str, new: str, **attributes: float) -> Callable[[onnx.ModelProto], None]:
    """Let the first node of a kind do something else."""

    def edit(model: onnx.ModelProto) -> None:
        node = _node(model, old)
        node.op_type = new
        del node.attribute[:]
        made = [onnx.helper.make_attribute(name, value) for name, value in attributes.items()]
        node.attribute.extend(made)

    return edit


def _attribute(kind: str, name: str, value: float) -> Callable[[onnx.ModelProto], None]:
    """Set one attribute of the first node of a kind."""

    def edit(model: onnx.ModelProto) -> None:
        node = _node(model, kind)
        kept = [attribute for attribute in node.attribute if attribute.name != name]
        del node.attribute[:]
        node.attribute.extend([*kept, onnx.helper.make_attribute(name, value)])

    return edit


def _initializer(name: str, value: float) -> Callable[[onnx.ModelProto], None]:
    """Replace the first value of a weight."""

    def edit(model: onnx.ModelProto) -> None:
        tensor = next(each for each in model.graph.initializer if name in each.name)
        values = numpy_helper.to_array(tensor).copy()
        values.flat[0] = value
        tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))

    return edit


def _probabilities(kind: str, axis: int | None = None) -> Callable[[onnx.ModelProto], None]:
    """Make the probabilities in one operation on the logits."""

    def edit(model: onnx.ModelProto) -> None:
        for node in model.graph.node:
            node.output[:] = ["unused" if name == "probabilities" else name for name in node.output]
        node = onnx.helper.make_node(kind, ["logits"], ["probabilities"], axis=axis)
        model.graph.node.append(node)

    return edit


def _metadata(key: str, value: str | None) -> Callable[[onnx.ModelProto], None]:
    """Change or drop an entry of the metadata."""

    def edit(model: onnx.ModelProto) -> None:
        kept = [entry for entry in model.metadata_props if entry.key != key]
        del model.metadata_props[:]
        model.metadata_props.extend(kept)
        if value is not None:
            model.metadata_props.add(key=key, value=value)

    return edit


def _insert(*nodes: onnx.NodeProto) -> Callable[[onnx.ModelProto], None]:
    """Let nodes change the features, named ``changed``, before the first layer reads them."""

    def edit(model: onnx.ModelProto) -> None:
        for node in model.graph.node:
            for position, name in enumerate(node.input):
                if name == "features":
                    node.input[position] = "changed"
        for position, node in enumerate(nodes):
            model.graph.node.insert(position, node)

    return edit


def _freeze(model: onnx.ModelProto) -> None:
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.shape.dim[0].dim_value = 2


def _freeze_inside(model: onnx.ModelProto) -> None:
    model.graph.initializer.append(numpy_helper.from_array(np.array([2, 2]), "two_rows"))
    _insert(onnx.helper.make_node("Reshape", ["features", "two_rows"], ["changed"]))(model)


def _rename(kind: str) -> Callable[[onnx.ModelProto], None]:
    def edit(model: onnx.ModelProto) -> None:
        if kind == "input":
            for node in model.graph.node:
                node.input[:] = ["x" if name == "features" else name for name in node.input]
            model.graph.input[0].name = "x"
        else:
            for node in model.graph.node:
                node.output[:] = ["scores" if name == "logits" else name for name in node.output]
                node.input[:] = ["scores" if name == "logits" else name for name in node.input]
            next(value for value in model.graph.output if value.name == "logits").name = "scores"

    return edit


def _swap_outputs(model: onnx.ModelProto) -> None:
    first, second = model.graph.output[1], model.graph.output[2]
    first.name, second.name = second.name, first.name


def _extra_output(model: onnx.ModelProto) -> None:
    name = next(node.output[0] for node in model.graph.node if node.op_type == "Relu")
    model.graph.output.append(
        onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None)
    )


def _label_int32(model: onnx.ModelProto) -> None:
    for node in model.graph.node:
        node.output[:] = ["label64" if name == "label" else name for name in node.output]
    model.graph.node.append(
        onnx.helper.make_node("Cast", ["label64"], ["label"], to=onnx.TensorProto.INT32)
    )
    value = next(value for value in model.graph.output if value.name == "label")
    value.type.tensor_type.elem_type = onnx.TensorProto.INT32


def _to_float64(model: onnx.ModelProto) -> None:
    for tensor in model.graph.initializer:
        values = numpy_helper.to_array(tensor)
        if values.dtype == np.float32:
            tensor.CopyFrom(numpy_helper.from_array(values.astype(np.float64), tensor.name))
    for value in (*model.graph.input, *model.graph.output):
        if value.type.tensor_type.elem_type == onnx.TensorProto.FLOAT:
            value.type.tensor_type.elem_type = onnx.TensorProto.DOUBLE


def _opset(version: int) -> Callable[[onnx.ModelProto], None]:
    def edit(model: onnx.ModelProto) -> None:
        next(
            each for each in model.opset_import if each.domain in {"", "ai.onnx"}
        ).version = version

    return edit


def _ir(model: onnx.ModelProto) -> None:
    model.ir_version = 99


def _label_of_probabilities(model: onnx.ModelProto) -> None:
    node = _node(model, "ArgMax")
    node.input[0] = "probabilities"


def _lose_relu(model: onnx.ModelProto) -> None:
    _operator("Relu", "Identity")(model)


def _noise() -> list[onnx.NodeProto]:
    return [
        onnx.helper.make_node("RandomNormalLike", ["features"], ["noise"], scale=1e-4, seed=1.0),
        onnx.helper.make_node("Add", ["features", "noise"], ["changed"]),
    ]


def _dropout(model: onnx.ModelProto) -> None:
    model.graph.initializer.append(numpy_helper.from_array(np.array(0.1, np.float32), "ratio"))
    model.graph.initializer.append(numpy_helper.from_array(np.array(True), "training"))
    node = onnx.helper.make_node("Dropout", ["features", "ratio", "training"], ["changed"], seed=1)
    _insert(node)(model)


_EDITS: dict[str, Callable[[onnx.ModelProto], None]] = {
    "ONNX: LeakyRelu for Relu": _operator("Relu", "LeakyRelu"),
    "ONNX: Relu lost": _lose_relu,
    "ONNX: Sigmoid for Softmax": _probabilities("Sigmoid"),
    "ONNX: Softmax over the batch": _probabilities("Softmax", axis=0),
    "ONNX: probabilities of the other class": _initializer("two_classes.other_less_own", 1.0),
    "ONNX: odds that do not add up": _initializer("two_classes.one", 1.0001),
    "ONNX: Softplus for Relu": _operator("Relu", "Softplus"),
    "ONNX: smallest for largest": _operator("ArgMax", "ArgMin", axis=1, keepdims=0),
    "ONNX: last of equal classes": _attribute("ArgMax", "select_last_index", 1),
    "ONNX: label taken from the probabilities": _label_of_probabilities,
    "ONNX: Gemm with a factor": _attribute("Gemm", "alpha", 1.0001),
    "ONNX: Gemm without its bias": _attribute("Gemm", "beta", 0.0),
    "ONNX: matrix not transposed": _attribute("Gemm", "transB", 0),
    "ONNX: a weight that is NaN": _initializer("weight", float("nan")),
    "ONNX: a weight that is 0": _initializer("weight", 0.0),
    "ONNX: random noise": _insert(*_noise()),
    "ONNX: dropout left on": _dropout,
    "ONNX: features rounded to float16": _insert(
        onnx.helper.make_node("Cast", ["features"], ["half"], to=onnx.TensorProto.FLOAT16),
        onnx.helper.make_node("Cast", ["half"], ["changed"], to=onnx.TensorProto.FLOAT),
    ),
    "ONNX: batch frozen": _freeze,
    "ONNX: batch frozen inside": _freeze_inside,
    "ONNX: input renamed": _rename("input"),
    "ONNX: output renamed": _rename("output"),
    "ONNX: outputs swapped": _swap_outputs,
    "ONNX: an output too many": _extra_output,
    "ONNX: label int32": _label_int32,
    "ONNX: float64": _to_float64,
    "ONNX: an opset of long ago": _opset(7),
    "ONNX: an opset of the future": _opset(99),
    "ONNX: an IR version of the future": _ir,
    "ONNX: class names swapped in its metadata": _metadata("onnxferry.classes", '["yes","no"]'),
    "ONNX: feature names swapped in its metadata": _metadata(
        "onnxferry.features", '["rating","price"]'
    ),
    "ONNX: schema missing in its metadata": _metadata("onnxferry.schema", None),
}


def _edited(edit: Callable[[onnx.ModelProto], None]) -> Callable[[Good], ModelFiles]:
    def files(good: Good) -> ModelFiles:
        model = onnx.load_from_string(good.files.onnx)
        edit(model)
        return replace(good.files, onnx=model.SerializeToString())

    return files


def _bytes(change: Callable[[Good], bytes]) -> Callable[[Good], ModelFiles]:
    return lambda good: replace(good.files, onnx=change(good))


FAULTS = (
    *(Fault(name, "ONNX", files=_edited(edit)) for name, edit in _EDITS.items()),
    Fault("ONNX: of another run", "ONNX", files=_bytes(lambda good: good.other.onnx)),
    Fault("ONNX: empty", "ONNX", files=_bytes(lambda _: b"")),
    Fault("ONNX: cut in half", "ONNX", files=_bytes(lambda good: good.files.onnx[:700])),
    Fault("ONNX: noise", "ONNX", files=_bytes(lambda _: bytes(range(256)) * 4)),
)
