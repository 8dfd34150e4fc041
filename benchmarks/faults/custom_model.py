"""Faults of a model that was trained elsewhere, whose tolerance is measured, not derived.

The network has more than Linear and ReLU: its own standardisation, embeddings, attention between
two tokens, a gated branch with layer normalisation, residual sums. A fault changes one of these, or
edits the ONNX file; the other files are correct.
"""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import onnx
import torch
from onnx import numpy_helper
from torch import nn
from torch.nn import functional

from exporter.bundling import convert_candidate
from exporter.formats.deployed import Deployed
from exporter.formats.onnx import write_onnx
from exporter.formats.program import capture_program
from exporter.source.candidate import candidate_from_module
from faults.fault import CustomModel, Fault
from runtime.schema.features import Feature, Schema
from trainer.data.dataset import LabelledRows

if TYPE_CHECKING:
    from collections.abc import Callable

    from exporter.formats.model_files import ModelFiles

WIDTH, KINDS, CLASSES, ROWS = 16, 4, 3, 64
_SEED = 20_240_304
SCHEMA = Schema(
    "grade",
    (
        Feature("region", 0.0, KINDS),
        Feature("season", 0.0, KINDS),
        Feature("price", 1.0, 1000.0),
        Feature("weight", -2.0, 2.0),
    ),
    ("low", "middle", "high"),
)


def _unchanged(features: torch.Tensor) -> torch.Tensor:
    return features


class Net(nn.Module):
    """The right network; its steps are attributes, so that one can be done differently."""

    mean: torch.Tensor
    std: torch.Tensor

    def __init__(self) -> None:
        """Draw the weights of a fixed seed."""
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(_SEED)
            self.region, self.season = (nn.Embedding(KINDS, WIDTH) for _ in range(2))
            self.first = nn.Linear(4, WIDTH)
            self.query, self.key, self.value = (nn.Linear(WIDTH, WIDTH) for _ in range(3))
            self.left, self.gate = nn.Linear(WIDTH, WIDTH), nn.Linear(WIDTH, WIDTH)
            self.norm = nn.LayerNorm(WIDTH)
            nn.init.normal_(self.norm.weight)
            self.last = nn.Linear(WIDTH, CLASSES)
        self.register_buffer("mean", torch.tensor([2.0, 2.0, 500.0, 0.0]))
        self.register_buffer("std", torch.tensor([1.2, 1.2, 290.0, 0.7]))
        self.before: Callable[[torch.Tensor], torch.Tensor] = _unchanged
        self.activate: Callable[[torch.Tensor], torch.Tensor] = functional.gelu
        self.open: Callable[[torch.Tensor], torch.Tensor] = torch.sigmoid
        self.scale, self.carried, self.axis, self.temperature = WIDTH**-0.5, 1.0, 2, 1.0

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """From features ``(batch, 4)`` to logits ``(batch, classes)``."""
        features = self.before(features)
        # Looked up by the raw numbers, which are the same in float32 and float64.
        kinds = features[:, :2].nan_to_num(0.0).clamp(0, KINDS - 1).long()  # (batch, 2)
        known = self.region(kinds[:, 0]) + self.season(kinds[:, 1]) * 0.5  # (batch, WIDTH)
        values = self.activate(self.first((features - self.mean) / self.std)) + known
        tokens = torch.stack([values, known], dim=1)  # (batch, 2, WIDTH)
        scores = self.query(tokens) @ self.key(tokens).transpose(1, 2) * self.scale
        met = torch.softmax(scores, dim=self.axis) @ self.value(tokens)  # (batch, 2, WIDTH)
        values = values * self.carried + met.mean(dim=1)
        values = values + self.norm(self.left(values)) * self.open(self.gate(values))
        logits: torch.Tensor = self.last(values)
        return logits * self.temperature if self.temperature != 1.0 else logits


def make_custom_model() -> CustomModel:
    """Make the right model, its test rows and its files."""
    generator = np.random.default_rng(_SEED)
    low, high = ([getattr(each, end) for each in SCHEMA.features] for end in ("minimum", "maximum"))
    features = generator.uniform(low, high, (ROWS, len(SCHEMA.features))).astype(np.float32)
    test = LabelledRows(features, generator.integers(0, CLASSES, ROWS))
    candidate = candidate_from_module(Net().eval(), SCHEMA, name="custom", test=test)
    return CustomModel(candidate, convert_candidate(candidate))


def copy_net(custom: CustomModel) -> Net:
    """The network, to be changed."""
    model = copy.deepcopy(custom.candidate.model)
    if not isinstance(model, Net):
        raise TypeError("the faults are made for Net")
    return model


def _swap(model: Net, one: str, other: str) -> None:
    first, second = getattr(model, one), getattr(model, other)
    setattr(model, one, second)
    setattr(model, other, first)


class _Half(nn.Module):
    """A layer computed in float16."""

    def __init__(self, layer: nn.Linear) -> None:
        super().__init__()
        self.layer = layer.half()

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        return self.layer(values.half()).float()  # type: ignore[no-any-return]  # a module returns Any


def _stale_embedding(model: Net) -> None:
    model.season.weight[KINDS - 1] = model.season.weight[0]


def _bfloat16(model: Net) -> None:
    model.key.weight.copy_(model.key.weight.bfloat16().float())


_MODELS: dict[str, Callable[[Net], object]] = {
    "its input clipped in place": lambda model: setattr(
        model, "before", lambda features: features.clamp_(0.5, 900.0)
    ),
    "mean of another column": lambda model: model.mean.copy_(model.mean.roll(1)),
    "deviation a thousandth too large": lambda model: model.std.mul_(1.001),
    "variance for its deviation": lambda model: model.std.square_(),
    "embeddings swapped": lambda model: _swap(model, "region", "season"),
    "one embedding of another kind": _stale_embedding,
    "query and key swapped": lambda model: _swap(model, "query", "key"),
    "branch and gate swapped": lambda model: _swap(model, "left", "gate"),
    "SiLU for GELU": lambda model: setattr(model, "activate", functional.silu),
    "GELU by its tanh": lambda model: setattr(
        model, "activate", lambda values: functional.gelu(values, approximate="tanh")
    ),
    "hard sigmoid for sigmoid": lambda model: setattr(model, "open", functional.hardsigmoid),
    "another epsilon of the normalisation": lambda model: setattr(model.norm, "eps", 1e-6),
    "normalisation without its weights": lambda model: model.norm.weight.fill_(1.0),
    "residual dropped": lambda model: setattr(model, "carried", 0.0),
    "residual halved": lambda model: setattr(model, "carried", 0.5),
    "attention not scaled": lambda model: setattr(model, "scale", 1.0),
    "attention over the wrong axis": lambda model: setattr(model, "axis", 1),
    "scores with a temperature": lambda model: setattr(model, "temperature", 1.0001),
    "one layer in float16": lambda model: setattr(model, "left", _Half(model.left)),
    "one layer's weights in bfloat16": _bfloat16,
}


def _of_net(change: Callable[[Net], object]) -> Callable[[CustomModel], ModelFiles]:
    """Convert a network with one thing done differently to ONNX; the other files stay right."""

    def files(custom: CustomModel) -> ModelFiles:
        model = copy_net(custom)
        with torch.no_grad():
            change(model)
        deployed = Deployed(model).eval().requires_grad_(requires_grad=False)
        content = write_onnx(capture_program(deployed, SCHEMA), SCHEMA, name="custom")
        return replace(custom.files, onnx=content)

    return files


def _node(model: onnx.ModelProto, kind: str) -> onnx.NodeProto:
    found: onnx.NodeProto = next(node for node in model.graph.node if node.op_type == kind)
    return found


def _attribute(kind: str, name: str, value: float) -> Callable[[onnx.ModelProto], None]:
    def edit(model: onnx.ModelProto) -> None:
        node = _node(model, kind)
        for attribute in [each for each in node.attribute if each.name == name]:
            node.attribute.remove(attribute)
        node.attribute.append(onnx.helper.make_attribute(name, value))

    return edit


def _transpose(model: onnx.ModelProto) -> None:
    for tensor in model.graph.initializer:
        if tensor.name == "model.gate.weight":
            turned = numpy_helper.to_array(tensor).T.copy()
            tensor.CopyFrom(numpy_helper.from_array(turned, tensor.name))


def _float16_between(model: onnx.ModelProto) -> None:
    """Round what the normalisation makes to float16 and back."""
    node = _node(model, "LayerNormalization")
    made, half = node.output[0], "rounded"
    node.output[0] = "exact"
    at = list(model.graph.node).index(node) + 1
    kinds = onnx.TensorProto
    to_half = onnx.helper.make_node("Cast", ["exact"], [half], to=kinds.FLOAT16)
    model.graph.node.insert(at, onnx.helper.make_node("Cast", [half], [made], to=kinds.FLOAT))
    model.graph.node.insert(at, to_half)


_EDITS: dict[str, Callable[[onnx.ModelProto], None]] = {
    "ONNX: normalisation over two axes": _attribute("LayerNormalization", "axis", 0),
    "ONNX: a square matrix not transposed": _transpose,
    "ONNX: a value rounded to float16 on its way": _float16_between,
    "ONNX: attention's softmax over the wrong axis": _attribute("Softmax", "axis", 1),
}


def _edited(edit: Callable[[onnx.ModelProto], None]) -> Callable[[CustomModel], ModelFiles]:
    def files(custom: CustomModel) -> ModelFiles:
        model = onnx.load_from_string(custom.files.onnx)
        edit(model)
        return replace(custom.files, onnx=model.SerializeToString())

    return files


_FILES = {
    **{name: _of_net(change) for name, change in _MODELS.items()},
    **{name: _edited(edit) for name, edit in _EDITS.items()},
}
FAULTS = tuple(
    Fault(f"custom: {name}", "custom model", files=lambda good, make=make: make(good.custom))  # type: ignore[misc]  # a default in a lambda
    for name, make in _FILES.items()
)
