"""Fitting SimpleNet to a dataset: one flat loop, the same bits for the same seed.

In: a dataset and a configuration. Out: the fitted network on raw features, and for every epoch
what an observer wants to know. Raises ``DataError`` when the loss leaves the finite numbers.
Nothing is printed or written, and torch's global random state and settings stay as they were.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch.nn import functional

from runtime.errors import DataError
from trainer.device import reproducible
from trainer.model import SimpleNet, fold_standardisation
from trainer.order import row_order
from trainer.seeds import derive_seed
from trainer.standardise import measure

if TYPE_CHECKING:
    from trainer.config import Configuration, DeviceName
    from trainer.data import Dataset


@dataclass(frozen=True)
class Epoch:
    """What happened in one pass over the training rows.

    Attributes:
        index: from 0.
        epochs: how many there will be.
        losses: mean cross-entropy of each batch, measured before its step.
        loss: mean over the epoch's training rows.
        test_loss: mean cross-entropy of the test rows after the epoch.
        accuracy: share of test rows labelled correctly after the epoch, 0 to 1.
    """

    index: int
    epochs: int
    losses: tuple[float, ...]
    loss: float
    test_loss: float
    accuracy: float


@dataclass(frozen=True)
class Fitted:
    """The result of a fit.

    Attributes:
        model: takes raw features; on the CPU, in evaluation mode.
        last: the last epoch.
    """

    model: SimpleNet
    last: Epoch


Watch = Callable[[Epoch], None]


def look_away(_epoch: Epoch) -> None:
    """Watch nothing."""


def fit(
    dataset: Dataset,
    configuration: Configuration,
    *,
    device: DeviceName = "cpu",
    watch: Watch = look_away,
) -> Fitted:
    """Fit by gradient descent on cross-entropy.

    Args:
        dataset: rows on the CPU.
        configuration: the options.
        device: a device that is there, see ``choose_device``.
        watch: called after every epoch.

    Returns:
        The network with the standardisation folded in, and the last epoch.

    Raises:
        DataError: when the loss is no longer finite.
    """
    with reproducible(device):
        return _descend(dataset, configuration, torch.device(device), watch)


def draw_network(dataset: Dataset, configuration: Configuration) -> SimpleNet:
    """Draw the initial network; torch's global random state stays as it was.

    Args:
        dataset: gives the widths of input and output.
        configuration: gives the hidden widths and the seed.

    Returns:
        A network on the CPU, the same for the same seed.
    """
    schema = dataset.schema
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(derive_seed(configuration.seed, "weights"))
        return SimpleNet(schema.n_inputs, schema.n_classes, configuration.hidden)


def _descend(
    dataset: Dataset, configuration: Configuration, device: torch.device, watch: Watch
) -> Fitted:
    rows = dataset.rows
    size = min(configuration.batch_size, len(rows.train_labels))
    scale = measure(rows.train_features) if configuration.standardise else None
    features = scale.apply(rows.train_features) if scale else rows.train_features
    features, labels = features.to(device), rows.train_labels.to(device)  # (rows, n), (rows,)
    test_features, test_labels = rows.test_features.to(device), rows.test_labels.to(device)
    network = draw_network(dataset, configuration).to(device)
    parameters = list(network.parameters())
    losses = torch.empty(math.ceil(len(labels) / size), device=device)  # (batches,)

    for index in range(configuration.epochs):
        order = row_order(configuration.seed, index, len(labels)).to(device)  # (rows,)
        batches = zip(
            torch.split(features[order], size), torch.split(labels[order], size), strict=True
        )
        for batch, (batch_features, batch_labels) in enumerate(batches):
            logits = network(batch_features)  # (batch, classes)
            loss = functional.cross_entropy(logits, batch_labels)
            gradients = torch.autograd.grad(loss, parameters)
            # SGD written out: torch.optim would load torch's compiler, more than a second.
            with torch.no_grad():
                for parameter, gradient in zip(parameters, gradients, strict=True):
                    parameter.add_(gradient, alpha=-configuration.learning_rate)
                losses[batch] = loss
        model = fold_standardisation(network, scale.mean, scale.std) if scale else network
        test_loss, accuracy = _judge(model, test_features, test_labels)
        step_losses = tuple(losses.tolist())  # the one look at the buffer in an epoch
        epoch = Epoch(
            index=index,
            epochs=configuration.epochs,
            losses=step_losses,
            loss=_mean_over_rows(step_losses, len(labels), size),
            test_loss=test_loss,
            accuracy=accuracy,
        )
        _check_finite(epoch, configuration)
        watch(epoch)
    return Fitted(model.cpu().eval(), epoch)


def _mean_over_rows(losses: tuple[float, ...], rows: int, size: int) -> float:
    """Weigh each batch's mean by its rows; only the last batch may have fewer than ``size``."""
    tail = rows - size * (len(losses) - 1)
    return math.fsum((*(size * loss for loss in losses[:-1]), tail * losses[-1])) / rows


@torch.no_grad()
def _judge(model: SimpleNet, features: torch.Tensor, labels: torch.Tensor) -> tuple[float, float]:
    """Mean cross-entropy and accuracy of raw rows: ``(rows, n_features)``, ``(rows,)``."""
    logits = model(features)  # (rows, classes)
    loss = functional.cross_entropy(logits, labels)
    hits = (logits.argmax(dim=1) == labels).sum()
    return loss.item(), hits.item() / len(labels)


def _check_finite(epoch: Epoch, configuration: Configuration) -> None:
    """Stop a fit that has diverged."""
    for step, loss in enumerate((*epoch.losses, epoch.test_loss), start=1):
        if not math.isfinite(loss):
            raise DataError(
                f"the fit diverged: the loss is {loss} at epoch {epoch.index + 1}, "
                f"step {min(step, len(epoch.losses))}; use a lower --learning-rate "
                f"(it was {configuration.learning_rate}), or --preset default"
            )
