"""Modules that turn another module's output into logits.

TorchScript and ``torch.export`` store the paths of these classes, as of ``Deployed``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

if TYPE_CHECKING:
    from collections.abc import Iterable

# The smallest probability whose logarithm is taken: float32 resolves no smaller share of 1, and
# engines compute sigmoid no more accurately.
_SMALLEST = 2.0**-23
_TABLE = 2  # dimensions of rows and columns


class Selected(nn.Module):
    """One output of a module that returns several."""

    def __init__(self, model: nn.Module, key: str | int) -> None:
        """Select an item of a dict or tuple, or an attribute of any other object."""
        super().__init__()
        self.model, self.key = model, key

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Return the selected output."""
        return select(self.model(features), self.key)


class Float32(nn.Module):
    """An output rounded to float32."""

    def __init__(self, model: nn.Module) -> None:
        """Wrap a module that returns another floating-point dtype."""
        super().__init__()
        self.model = model

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Return the output in float32."""
        output: torch.Tensor = self.model(features)
        return output.to(torch.float32)


class LogitPair(nn.Module):
    """The logits ``(0, z)`` of two classes: their softmax is the sigmoid of ``z``."""

    def __init__(self, model: nn.Module, *, of_first: bool = False) -> None:
        """Wrap a module that returns one logit a row; ``of_first`` makes it the first class's."""
        super().__init__()
        self.model, self.of_first = model, of_first

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Return logits ``(batch, 2)``."""
        logit = _as_column(self.model(features))  # (batch, 1)
        other = torch.zeros_like(logit)
        return torch.cat([logit, other] if self.of_first else [other, logit], dim=1)


class LogProbabilities(nn.Module):
    """Logarithms of probabilities, ``(batch, classes)``."""

    def __init__(self, model: nn.Module) -> None:
        """Wrap a module that returns a probability for each class, or one for the second."""
        super().__init__()
        self.model = model

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Return logarithms, of probabilities below 2**-23 that of 2**-23."""
        output: torch.Tensor = self.model(features)
        if output.ndim < _TABLE or output.shape[1] == 1:
            output = _as_column(output)
            output = torch.cat([1 - output, output], dim=1)
        # Not clamp: engines differ in the result for NaN.
        return torch.where(output < _SMALLEST, _SMALLEST, output).log()


def select(output: Any, key: str | int) -> torch.Tensor:  # noqa: ANN401 - a module's output
    """Take one tensor of an output: an item of a mapping or sequence, or an attribute."""
    is_item = isinstance(key, int) or isinstance(output, Mapping)
    found: torch.Tensor = output[key] if is_item else getattr(output, str(key))
    return found


def keys_of(output: object) -> list[str | int]:
    """Return the keys under which an output holds tensors, in its order."""
    names: Iterable[str | int]
    if isinstance(output, Mapping):
        names = [name for name in output if isinstance(name, str)]
    elif isinstance(output, list | tuple):
        names = getattr(output, "_fields", None) or range(len(output))  # of a named tuple
    else:
        names = vars(output) if hasattr(output, "__dict__") else ()
    return [name for name in names if isinstance(select(output, name), torch.Tensor)]


def _as_column(output: torch.Tensor) -> torch.Tensor:
    """Return ``(batch,)`` as ``(batch, 1)``; of one row, ``squeeze()`` makes a number."""
    return output.reshape(-1, 1) if output.ndim < _TABLE else output
