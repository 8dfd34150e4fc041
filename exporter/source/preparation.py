"""Make a copy of a user's module that can be captured, or say why it cannot be."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn
from torch._dynamo.eval_frame import OptimizedModule  # what torch.compile returns

from exporter.formats.copying import copy_module
from runtime.errors import UsageError, first_line

if TYPE_CHECKING:
    from collections.abc import Callable

_WRAPPERS = (nn.DataParallel, nn.parallel.DistributedDataParallel)


def prepare(model: nn.Module) -> nn.Module:
    """Copy a module to the CPU, without gradients and the wrappers that training adds.

    Raises ``UsageError`` for a module without Python code or weights, or one that torch cannot
    copy.
    """
    model = _unwrap(model)
    _refuse(model, _is_script, "is TorchScript", "export the module it was made from")
    _refuse(model, _is_lazy, "has no weights yet", "load them, or call the model on a few rows")
    _refuse(model, _is_meta, "is on the meta device, without weights", "load its weights")
    try:
        copied = copy_module(model).cpu().requires_grad_(requires_grad=False)
    except (RuntimeError, NotImplementedError) as exc:  # as a module's own methods raise
        raise UsageError(f"the model cannot be copied to the CPU: {first_line(exc)}") from exc
    for parent in tuple(copied.modules()):
        for name, child in tuple(parent.named_children()):
            if child is not _unwrap(child):
                setattr(parent, name, _unwrap(child))
    return copied


def evaluating(model: nn.Module) -> nn.Module:
    """Copy a module into evaluation mode; ``UsageError`` where it has none."""
    try:
        return copy_module(model).eval()
    except Exception as exc:  # programs of torch.export have no mode
        raise UsageError(
            f"the model has no evaluation mode: {first_line(exc)}; export the module it was made "
            "from"
        ) from exc


def _unwrap(model: nn.Module) -> nn.Module:
    """Take a module out of ``torch.compile`` and the wrappers of several devices."""
    while isinstance(model, (OptimizedModule, *_WRAPPERS)):
        inner = model._orig_mod if isinstance(model, OptimizedModule) else model.module  # noqa: SLF001 - it has no public name
        if not isinstance(inner, nn.Module):
            break
        model = inner
    return model


def _refuse(
    model: nn.Module, is_such: Callable[[nn.Module], bool], problem: str, advice: str
) -> None:
    for name, module in model.named_modules():
        if is_such(module):
            where = f"layer {name} of the model" if name else "the model"
            raise UsageError(f"{where} {problem}: {advice}")


def _is_script(module: nn.Module) -> bool:
    return isinstance(module, torch.jit.ScriptModule)


def _is_lazy(module: nn.Module) -> bool:
    return any(nn.parameter.is_lazy(each) for each in _own_tensors(module))


def _is_meta(module: nn.Module) -> bool:
    return any(each.is_meta for each in _own_tensors(module))


def _own_tensors(module: nn.Module) -> list[torch.Tensor]:
    return [*module.parameters(recurse=False), *module.buffers(recurse=False)]
