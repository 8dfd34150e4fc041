"""Refuse modules that cannot be deployed, or compute something else in training mode.

Training mode is accepted where it makes no difference: most code leaves its modules in it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from exporter.reference.nodes import argument, op_name
from runtime.errors import SchemaError, UsageError

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    from torch import nn
    from torch.export import ExportedProgram
    from torch.fx import Node

    from runtime.schema.features import Float32Matrix, Schema

_MAX_LAYERS = 3  # layers named in a message
_SEED = 20_240_303
# Layers with a fast path in evaluation mode round differently; dropout changes far more.
_ROUNDING = 2.0**-14  # of the largest score
# Operations with an argument for training mode: its position and name.
_TRAINING_ARGUMENTS = {
    "aten.dropout": (2, "train"),
    "aten.dropout_": (2, "train"),
    "aten.alpha_dropout": (2, "train"),
    "aten.feature_dropout": (2, "train"),
    "aten.feature_alpha_dropout": (2, "train"),
    "aten.native_dropout": (2, "train"),
    "aten.rrelu": (3, "training"),
    "aten.scaled_dot_product_attention": (4, "dropout_p"),
    "aten.batch_norm": (5, "training"),
    "aten.native_batch_norm": (5, "training"),
    "aten.rnn_tanh": (6, "train"),
    "aten.rnn_relu": (6, "train"),
}
# Operations on which onnxruntime (1.31) aborts the process for an empty batch.
_ABORTING = ("aten.lstm", "aten.gru")


def check_dtypes(model: nn.Module) -> None:
    """Refuse a module with weights in another precision than float32."""
    other = {
        str(tensor.dtype)
        for tensor in (*model.parameters(), *model.buffers())
        if tensor.is_floating_point() and tensor.dtype != torch.float32
    }
    if other:
        raise UsageError(
            f"the model holds {', '.join(sorted(other))} weights; bundles are float32: call float()"
        )


def check_test_rows(features: Float32Matrix, labels: npt.NDArray[np.int64], schema: Schema) -> None:
    """Refuse test rows that do not fit the schema."""
    fits = features.shape == (len(labels), schema.n_inputs) and labels.ndim == 1
    if not fits or ((labels < 0) | (labels >= schema.n_classes)).any():
        raise SchemaError(
            f"test rows of shape {features.shape} with labels of shape {labels.shape} do not "
            f"fit {schema.n_inputs} features and labels from 0 to {schema.n_classes - 1}"
        )


def refuse_training_layers(model: nn.Module) -> None:
    """Refuse layers in training mode that are known to compute something else in it."""
    kinds = (torch.nn.modules.dropout._DropoutNd, torch.nn.modules.batchnorm._BatchNorm)  # noqa: SLF001 - torch has no public name for all of them
    optional = (torch.nn.RNNBase, torch.nn.MultiheadAttention)  # with dropout as an option
    training = [
        f"{name or 'the model'} ({type(module).__name__})"
        for name, module in model.named_modules()
        if module.training
        and (isinstance(module, kinds) or (isinstance(module, optional) and module.dropout))
    ]
    if training:
        raise UsageError(
            f"the model is in training mode: {', '.join(training[:_MAX_LAYERS])}"
            f"{' …' if len(training) > _MAX_LAYERS else ''}; call eval() before exporting it"
        )


def refuse_training_outputs(
    original: nn.Module, evaluating: nn.Module, sample: Float32Matrix
) -> None:
    """Refuse a model in training mode whose outputs differ in evaluation mode.

    ``original`` is a copy in the user's mode, which running may change; ``sample`` are rows inside
    the ranges.
    """
    if not any(module.training for module in original.modules()):
        return
    rows = torch.from_numpy(sample)
    with torch.inference_mode(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(_SEED)
        try:
            expected = evaluating(rows.clone())
        except Exception:  # noqa: BLE001 - measure_reference reports it
            return
        try:
            got = original(rows.clone())
        except Exception as exc:  # whatever a module raises
            raise UsageError(
                f"the model is in training mode and fails there: {exc}; call eval() before "
                "exporting it"
            ) from exc
    if not _are_close(got, expected):
        raise UsageError(
            "the model is in training mode, and its outputs differ in evaluation mode: "
            "call eval() before exporting it"
        )


def _are_close(got: object, expected: torch.Tensor) -> bool:
    if not isinstance(got, torch.Tensor) or got.shape != expected.shape:
        return False
    finite = expected[expected.isfinite()]
    largest = float(finite.abs().max()) if finite.numel() else 0.0
    return torch.allclose(got, expected, rtol=0, atol=_ROUNDING * largest, equal_nan=True)


def refuse_nondeterminism(program: ExportedProgram) -> None:
    """Refuse a graph that draws random numbers, or whose dropout or batch norm is training."""
    for node in program.graph.nodes:
        if node.op != "call_function":
            continue
        name = op_name(node)
        if name in _TRAINING_ARGUMENTS:
            position, keyword = _TRAINING_ARGUMENTS[name]
            if argument(node, position) or node.kwargs.get(keyword):
                raise UsageError(
                    f"the model is in training mode at {_module_path(node)} ({name}): "
                    "call eval() before exporting it"
                )
        elif torch.Tag.nondeterministic_seeded in getattr(node.target, "tags", ()):
            raise UsageError(
                f"the model draws random numbers at {_module_path(node)} ({name}): "
                "its outputs cannot be proven"
            )


def refuse_aborting(program: ExportedProgram) -> None:
    """Refuse a graph on which onnxruntime aborts for an empty batch: LSTM and GRU layers."""
    for node in program.graph.nodes:
        if node.op == "call_function" and op_name(node) in _ABORTING:
            raise UsageError(
                f"the model has a layer at {_module_path(node)} ({op_name(node)}) on which "
                "onnxruntime aborts for an empty batch: it cannot be deployed"
            )


def _module_path(node: Node) -> str:
    """Return the path of the user's module that a node comes from."""
    stack = node.meta.get("nn_module_stack") or {}
    paths = [str(entry[0]) for entry in stack.values()]
    path = paths[-1].removeprefix("model").lstrip(".") if paths else ""
    return path or str(node.name)
