"""Faults of the network and its outputs: correct weights, wrong graph, in all files."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn
from torch.nn import functional

from faults.fault import Fault, Good, of_deployed, of_model

if TYPE_CHECKING:
    from collections.abc import Callable

Answers = tuple[torch.Tensor, torch.Tensor, torch.Tensor]


class Network(nn.Module):
    """The trained layers with another way from one to the next."""

    def __init__(
        self,
        good: Good,
        activate: Callable[[torch.Tensor], torch.Tensor] = torch.relu,
        before: Callable[[torch.Tensor], torch.Tensor] = lambda features: features,
        after: Callable[[torch.Tensor], torch.Tensor] = lambda logits: logits,
    ) -> None:
        """Take the layers of the model.

        Args:
            good: gives the model.
            activate: between the layers.
            before: changes the features.
            after: changes the logits.
        """
        super().__init__()
        self.layers = nn.ModuleList(good.copy_model().linear_layers())
        self._activate, self._before, self._after = activate, before, after

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """From features ``(batch, n_features)`` to logits ``(batch, classes)``."""
        values = self._before(features)
        for position, layer in enumerate(self.layers):
            values = layer(self._activate(values) if position else values)
        return self._after(values)


class Answering(nn.Module):
    """The trained model with another way from logits to answers."""

    def __init__(self, good: Good, answer: Callable[[torch.Tensor], Answers]) -> None:
        """Take the model; ``answer`` makes label, probabilities and logits of its logits."""
        super().__init__()
        self.model = good.copy_model()
        self._answer = answer

    def forward(self, features: torch.Tensor) -> Answers:
        """From features to the contract's outputs."""
        return self._answer(self.model(features))


def _tf32(values: torch.Tensor) -> torch.Tensor:
    """Cut to eleven significant bits, by adding and taking away what is larger by 2**13."""
    large = values * 8193.0
    return large - (large - values)


def _label(logits: torch.Tensor) -> torch.Tensor:
    return logits.argmax(dim=1)


def _probabilities(change: Callable[[torch.Tensor], torch.Tensor]) -> Callable[..., Answers]:
    return lambda logits: (_label(logits), change(logits), logits)


def _labels(change: Callable[[torch.Tensor], torch.Tensor]) -> Callable[..., Answers]:
    return lambda logits: (change(logits), torch.softmax(logits, dim=1), logits)


def _without_shift(logits: torch.Tensor) -> torch.Tensor:
    terms = logits.exp()
    return terms / terms.sum(dim=1, keepdim=True)


_NETWORKS: dict[str, Callable[[Good], nn.Module]] = {
    "ReLU6 for ReLU": lambda good: Network(good, functional.relu6),
    "LeakyReLU for ReLU": lambda good: Network(good, functional.leaky_relu),
    "ELU for ReLU": lambda good: Network(good, functional.elu),
    "GELU for ReLU": lambda good: Network(good, functional.gelu),
    "softplus for ReLU": lambda good: Network(good, functional.softplus),
    "tanh for ReLU": lambda good: Network(good, torch.tanh),
    "no activation": lambda good: Network(good, lambda values: values * 1),
    "ReLU with a threshold": lambda good: Network(
        good, lambda values: functional.threshold(values, 1e-2, 0.0)
    ),
    "ReLU after the last layer too": lambda good: Network(good, after=torch.relu),
    "products of factors rounded to TF32": lambda good: Network(
        good, lambda values: _tf32(torch.relu(values)), before=_tf32
    ),
    "computed in float16": lambda good: Network(
        good,
        lambda values: torch.relu(values).half().float(),
        before=lambda features: features.half().float(),
    ),
    "features cut to whole numbers": lambda good: Network(good, before=torch.trunc),
    "features without their sign": lambda good: Network(good, before=torch.abs),
    "features clipped to the range of training": lambda good: Network(
        good, before=lambda features: features.clamp(1.0, 10.0)
    ),
    "features scaled to length 1": lambda good: Network(good, before=functional.normalize),
    "NaN turned into 0": lambda good: Network(good, before=torch.nan_to_num),
    "infinities turned into numbers": lambda good: Network(
        good, before=lambda features: features.clamp(-3.4e38, 3.4e38)
    ),
    "columns swapped in the graph": lambda good: Network(
        good, before=lambda features: features.flip(1)
    ),
    "logits scaled by a temperature": lambda good: Network(
        good, after=lambda logits: logits / 1.01
    ),
    "logits clipped": lambda good: Network(good, after=lambda logits: logits.clamp(-20.0, 20.0)),
    "the rows' mean subtracted": lambda good: Network(
        good, after=lambda logits: logits - logits.mean(dim=0) * 1e-3
    ),
    "off by one row": lambda good: Network(good, after=lambda logits: logits.roll(1, 0)),
    "rows in reverse": lambda good: Network(good, after=lambda logits: logits.flip(0)),
    "the first row answered for all": lambda good: Network(
        good, after=lambda logits: logits[:1].expand(logits.shape[0], -1) + 0 * logits
    ),
}
_ANSWERS: dict[str, Callable[[torch.Tensor], Answers]] = {
    "sigmoid for softmax": _probabilities(torch.sigmoid),
    "softmax over the batch": _probabilities(lambda logits: torch.softmax(logits, dim=0)),
    "softmax twice": _probabilities(lambda logits: logits.softmax(dim=1).softmax(dim=1)),
    "log-softmax for softmax": _probabilities(lambda logits: logits.log_softmax(dim=1)),
    "softmax without the shift that keeps it finite": _probabilities(_without_shift),
    "softmax with a temperature": _probabilities(lambda logits: (logits * 1.001).softmax(dim=1)),
    "probabilities rounded to four decimals": _probabilities(
        lambda logits: (logits.softmax(dim=1) * 1e4).round() / 1e4
    ),
    "probabilities clipped": _probabilities(
        lambda logits: logits.softmax(dim=1).clamp(1e-3, 1 - 1e-3)
    ),
    "probabilities in the other order": _probabilities(
        lambda logits: logits.softmax(dim=1).flip(1)
    ),
    "probabilities given as logits": lambda logits: (
        _label(logits),
        logits.softmax(dim=1),
        logits.softmax(dim=1),
    ),
}


FAULTS = (
    *(Fault(name, "all files", files=of_model(make)) for name, make in _NETWORKS.items()),
    *(
        Fault(
            name,
            "all files",
            files=of_deployed(lambda good, answer=answer: Answering(good, answer)),  # type: ignore[misc]  # a default in a lambda
        )
        for name, answer in _ANSWERS.items()
    ),
)
