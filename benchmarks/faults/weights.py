"""Faults of the weights: correct graph, wrong numbers, in all files.

Bits are flipped where the effect exceeds the error bound; below it, two correct backends differ as
much.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from faults.fault import Fault, Good, of_model
from trainer.model import fold_standardisation

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import nn


def _changed(change: Callable[[list[nn.Linear]], object]) -> Callable[[Good], nn.Module]:
    """Change a copy of the model's layers in place."""

    def make(good: Good) -> nn.Module:
        model = good.copy_model()
        with torch.no_grad():
            change(model.linear_layers())
        return model

    return make


def _every_tensor(change: Callable[[torch.Tensor], torch.Tensor]) -> Callable[[Good], nn.Module]:
    def make(good: Good) -> nn.Module:
        model = good.copy_model()
        with torch.no_grad():
            for tensor in model.parameters():
                tensor.copy_(change(tensor))
        return model

    return make


def _set(linear: nn.Linear, place: tuple[int, int], value: float) -> None:
    linear.weight[place] = value


def _flip(linear: nn.Linear, bit: int) -> None:
    """Flip one bit of the largest weight."""
    flat = linear.weight.view(-1)
    at = int(flat.abs().argmax())
    flat.view(torch.int32)[at] ^= 1 << bit


def _swap_columns(layers: list[nn.Linear]) -> None:
    layers[0].weight.copy_(layers[0].weight.flip(1))


def _swap_units(layers: list[nn.Linear]) -> None:
    layers[0].weight.copy_(layers[0].weight.roll(1, 0))
    layers[0].bias.copy_(layers[0].bias.roll(1, 0))


def _swap_classes(layers: list[nn.Linear]) -> None:
    layers[-1].weight.copy_(layers[-1].weight.flip(0))
    layers[-1].bias.copy_(layers[-1].bias.flip(0))


def _read_transposed(layers: list[nn.Linear]) -> None:
    weight = layers[-1].weight
    weight.copy_(weight.t().reshape(weight.shape))


def _quantise(tensor: torch.Tensor) -> torch.Tensor:
    scale = tensor.abs().max() / 127
    return (tensor / scale).round() * scale


def _cut_mantissa(tensor: torch.Tensor) -> torch.Tensor:
    """Keep the ten bits that TF32 has."""
    return (tensor.view(torch.int32) & ~0x1FFF).view(torch.float32)


def _byte_swapped(tensor: torch.Tensor) -> torch.Tensor:
    swapped = torch.from_numpy(tensor.numpy().byteswap().copy())
    return swapped.nan_to_num()


def _drop_unit(layers: list[nn.Linear]) -> None:
    strongest = int(layers[-1].weight.abs().sum(dim=0).argmax())
    layers[-1].weight[:, strongest] = 0


def _fold_again(good: Good) -> nn.Module:
    return fold_standardisation(
        good.copy_model(), good.standardisation.mean, good.standardisation.std
    )


def _folded(
    change: Callable[[torch.Tensor, torch.Tensor, int], tuple[torch.Tensor, torch.Tensor]],
) -> Callable[[Good], nn.Module]:
    """Fold another mean and standard deviation than those of the training rows."""

    def make(good: Good) -> nn.Module:
        rows = 800 if good.candidate.train is None else len(good.candidate.train.features)
        standardisation = good.standardisation
        mean, std = change(standardisation.mean, standardisation.std, rows)
        return fold_standardisation(good.unfolded(), mean, std)

    return make


_MODELS: dict[str, Callable[[Good], nn.Module]] = {
    "feature columns swapped": _changed(_swap_columns),
    "hidden units in another order than the next layer's": _changed(_swap_units),
    "classes swapped": _changed(_swap_classes),
    "class weights swapped, their biases not": _changed(
        lambda layers: layers[-1].weight.copy_(layers[-1].weight.flip(0))
    ),
    "last matrix read column by column": _changed(_read_transposed),
    "first bias dropped": _changed(lambda layers: layers[0].bias.zero_()),
    "last bias dropped": _changed(lambda layers: layers[-1].bias.zero_()),
    "first bias added twice": _changed(lambda layers: layers[0].bias.mul_(2)),
    "one weight zeroed": _changed(lambda layers: _flip_to_zero(layers[0])),
    "one weight with the other sign": _changed(lambda layers: _flip(layers[0], 31)),
    "one mantissa bit flipped": _changed(lambda layers: _flip(layers[-1], 14)),
    "one exponent bit flipped": _changed(lambda layers: _flip(layers[-1], 23)),
    "one weight NaN": _changed(lambda layers: _set(layers[0], (0, 0), float("nan"))),
    "one weight infinite": _changed(lambda layers: _set(layers[0], (0, 0), float("inf"))),
    "the strongest hidden unit pruned": _changed(_drop_unit),
    "weights a thousandth too large": _every_tensor(lambda tensor: tensor * 1.001),
    "weights of a step too early": _every_tensor(lambda tensor: tensor * (1 + 2.0**-12)),
    "weights rounded to four decimals": _every_tensor(lambda tensor: tensor.round(decimals=4)),
    "weights in float16": _every_tensor(lambda tensor: tensor.half().float()),
    "weights in bfloat16": _every_tensor(lambda tensor: tensor.bfloat16().float()),
    "weights cut to TF32": _every_tensor(_cut_mantissa),
    "weights quantised to 8 bits": _every_tensor(_quantise),
    "weights in the other byte order": _every_tensor(_byte_swapped),
    "standardised twice": _fold_again,
    "not standardised": lambda good: good.unfolded(),
    "mean and deviation swapped": _folded(lambda mean, std, _: (std, mean)),
    "variance for deviation": _folded(lambda mean, std, _: (mean, std**2)),
    "mean not subtracted": _folded(lambda mean, std, _: (torch.zeros_like(mean), std)),
    "not divided by the deviation": _folded(lambda mean, std, _: (mean, torch.ones_like(std))),
    "deviation of a sample, n - 1 for n": _folded(
        lambda mean, std, rows: (mean, std * (rows / (rows - 1)) ** 0.5)
    ),
    "mean in float16": _folded(lambda mean, std, _: (mean.half().double(), std)),
}


def _flip_to_zero(linear: nn.Linear) -> None:
    flat = linear.weight.view(-1)
    flat[int(flat.abs().argmax())] = 0


FAULTS = tuple(Fault(name, "all files", files=of_model(make)) for name, make in _MODELS.items())
