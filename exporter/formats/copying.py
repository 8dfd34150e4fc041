"""Copy a torch module, whatever it holds beside its weights."""

from __future__ import annotations

import copy
import warnings
from typing import TYPE_CHECKING

import torch

from runtime.errors import UsageError, first_line

if TYPE_CHECKING:
    from torch import nn


def copy_module(model: nn.Module) -> nn.Module:
    """Copy a module; what cannot be copied, such as a lock, is shared with the original.

    Tensors that a module computed and keeps, as ``weight_norm`` does, are copied as values.
    Raises ``UsageError`` when torch cannot copy the module even so.
    """
    with warnings.catch_warnings():  # torch's own, when it copies a program
        warnings.filterwarnings("ignore", r".*LeafSpec.* is deprecated", category=FutureWarning)
        try:
            return copy.deepcopy(model)
        except Exception:  # noqa: BLE001 - whatever an attribute's own copying raises
            shared = _uncopyable(model)
        try:
            return copy.deepcopy(model, shared)
        except Exception as exc:  # as above
            raise UsageError(
                f"the model cannot be copied: {type(exc).__name__}: {first_line(exc)}; give a "
                "module whose attributes copy.deepcopy copies"
            ) from exc


def _uncopyable(model: nn.Module) -> dict[int, object]:
    """Find attributes that ``copy.deepcopy`` refuses; return its replacement by its id."""
    found: dict[int, object] = {}
    for module in model.modules():
        for name, value in vars(module).items():
            if name in {"_modules", "_parameters", "_buffers"}:
                continue
            for each in (*_items(value), value):
                _add_uncopyable(each, found)
        for tensor in (*module._parameters.values(), *module._buffers.values()):  # noqa: SLF001 - None, and non-leaf buffers
            _add_uncopyable(tensor, found)
    return found


def _items(value: object) -> list[object]:
    """Return what a list, tuple or dict holds."""
    if isinstance(value, dict):
        return list(value.values())
    return list(value) if isinstance(value, list | tuple) else []


def _add_uncopyable(value: object, found: dict[int, object]) -> None:
    if isinstance(value, torch.Tensor):
        if not value.is_leaf:
            found[id(value)] = value.detach().clone()
        return
    try:
        copy.deepcopy(value, dict(found))
    except Exception:  # noqa: BLE001 - whatever an object's own copying raises
        found[id(value)] = value
