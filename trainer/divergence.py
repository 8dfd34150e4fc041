"""Losses that are not finite: training diverged, or a row evaluated on overflows float32."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch.nn import functional

from runtime.errors import DataError
from runtime.surfaces import option
from trainer.evaluation.metrics import BLOCK_ROWS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from runtime.schema.features import Schema
    from trainer.config import Configuration
    from trainer.data.training_data import EvaluationRows
    from trainer.model import SimpleNet

_LARGEST_PRODUCT = 2  # of learning rate and weight decay


def check_losses(
    losses: Sequence[float], configuration: Configuration, *, epoch: int, step: int
) -> None:
    """Raise when training has diverged.

    Args:
        losses: of the epoch's steps, or one after them.
        configuration: the options to change.
        epoch: from 0.
        step: the last one of the epoch, from 1.

    Raises:
        DataError: when a loss is not finite.
    """
    for at, loss in enumerate(losses, start=1):
        if not math.isfinite(loss):
            raise DataError(
                f"training diverged: the loss is {loss} at epoch {epoch + 1}, step "
                f"{min(at, step)}; {_advise(configuration)}"
            )


def _advise(configuration: Configuration) -> str:
    """Name the option to change.

    A step multiplies parameters by 1 - learning rate * weight decay, beside what it adds: a product
    above 2 makes them grow. A small decay is not to blame for a huge learning rate.
    """
    rate, decay = configuration.learning_rate, configuration.weight_decay
    if decay > _LARGEST_PRODUCT and rate * decay > _LARGEST_PRODUCT:
        return (
            f"use a lower {option('weight_decay')} (it was {decay}): times "
            f"{option('learning_rate')} (it was {rate}) it must be below {_LARGEST_PRODUCT}"
        )
    better = "" if configuration.standardise else f", or {option('preset', 'default')}"
    return f"use a lower {option('learning_rate')} (it was {rate}){better}"


@torch.inference_mode()
def check_rows(model: SimpleNet, rows: EvaluationRows, schema: Schema, kind: str) -> None:
    """Raise when only rows outside the training rows' ranges have no finite loss.

    Args:
        model: on the device of its parameters.
        rows: to evaluate on, as the model sees them.
        schema: of these, with the ranges of the training rows.
        kind: of rows, for the message.

    Raises:
        DataError: names the number that is furthest outside.
    """
    numeric = schema.numeric_features
    losses = _losses(model, rows.features, rows.labels)
    failed = ~losses.isfinite()
    features = rows.features[failed]
    values = features[:, list(numeric)].cpu()  # (failed rows, numbers)
    lows = torch.tensor([each.minimum for each in numeric.values()])
    highs = torch.tensor([each.maximum for each in numeric.values()])
    distances = torch.maximum(lows - values, values - highs)
    if not distances.numel() or (distances.amax(dim=1) <= 0).any():
        return
    # Of few rows and many columns each row may be a little outside: that is to blame for nothing.
    features[:, list(numeric)] = values.clamp(lows, highs).to(features.device)
    if not _losses(model, features, rows.labels[failed]).isfinite().all():
        return
    row, at = divmod(int(distances.argmax()), len(numeric))
    feature = list(numeric.values())[at]
    raise DataError(
        f"a {kind} row has no finite loss: its column {feature.name!r} is "
        f"{float(values[row, at]):.7g}, in training it is {feature.minimum:.7g} to "
        f"{feature.maximum:.7g}; correct it, or leave the row out"
    )


def _losses(model: SimpleNet, features: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Compute the loss of each row, ``(rows,)``."""
    device = next(model.parameters()).device
    blocks = torch.split(features, BLOCK_ROWS)
    logits = torch.cat([model(block.to(device)).to(labels.device) for block in blocks])
    return functional.cross_entropy(logits, labels, reduction="none")
