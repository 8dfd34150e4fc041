"""Refuse modules that would do something else once they are in evaluation mode.

In: a module as it was brought, and its copy in evaluation mode. Out: nothing, or a ``UsageError``.
Training mode is accepted where it makes no difference: most modules leave their maker in it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from runtime.errors import UsageError

if TYPE_CHECKING:
    from torch import nn

    from runtime.schema.features import Float32Matrix

_SHOWN = 3  # layers that are named
_SEED = 20_240_303
# Layers with a faster way in evaluation mode round otherwise; dropout changes whole numbers.
_ROUNDING = 2.0**-14  # of the largest score


def refuse_training_layers(model: nn.Module) -> None:
    """Refuse layers in training mode that are known to compute something else in it.

    Args:
        model: as brought.

    Raises:
        UsageError: when there are some; names them.
    """
    kinds = (torch.nn.modules.dropout._DropoutNd, torch.nn.modules.batchnorm._BatchNorm)  # noqa: SLF001 - torch has no public name for all of them
    dropping = (torch.nn.RNNBase, torch.nn.MultiheadAttention)  # where they are told to
    training = [
        f"{name or 'the model'} ({type(module).__name__})"
        for name, module in model.named_modules()
        if module.training
        and (isinstance(module, kinds) or (isinstance(module, dropping) and module.dropout))
    ]
    if training:
        raise UsageError(
            f"the model is in training mode: {', '.join(training[:_SHOWN])}"
            f"{' …' if len(training) > _SHOWN else ''}; call eval() before it is exported"
        )


def refuse_training_answers(
    brought: nn.Module, evaluating: nn.Module, sample: Float32Matrix
) -> None:
    """Refuse a model in training mode that answers otherwise in evaluation mode.

    Args:
        brought: a copy of the model in the mode it came in; running it may change it.
        evaluating: the model in evaluation mode.
        sample: ``(rows, n_features)`` float32 inside the ranges.

    Raises:
        UsageError: when the answers differ by more than roundings.
    """
    if not any(module.training for module in brought.modules()):
        return
    rows = torch.from_numpy(sample)
    with torch.inference_mode(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(_SEED)
        try:
            expected = evaluating(rows.clone())
        except Exception:  # noqa: BLE001 - whoever measures the model says it in other words
            return
        try:
            got = brought(rows.clone())
        except Exception as exc:  # whatever a module raises
            raise UsageError(
                f"the model is in training mode and cannot answer there: {exc}; call eval() "
                "before it is exported"
            ) from exc
    if not _is_same(got, expected):
        raise UsageError(
            "the model is in training mode, and answers otherwise in evaluation mode: "
            "call eval() before it is exported"
        )


def _is_same(got: object, expected: torch.Tensor) -> bool:
    if not isinstance(got, torch.Tensor) or got.shape != expected.shape:
        return False
    finite = expected[expected.isfinite()]
    largest = float(finite.abs().max()) if finite.numel() else 0.0
    return torch.allclose(got, expected, rtol=0, atol=_ROUNDING * largest, equal_nan=True)
