"""The options that a search tries, and how it draws them."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Final, Protocol, TypeVar

from runtime.value import Value
from trainer.checkpoint.trials import OptionValue
from trainer.seeds import derive_seed

if TYPE_CHECKING:
    from trainer.config import Configuration

Drawn = Mapping[str, OptionValue]
_Option = TypeVar("_Option", tuple[int, ...], int, float)
_DIGITS: Final = 2  # of a number that is drawn: more make no difference, and are typed by people
_MAX_TRIES: Final = 100  # to draw options that no trial has
_NEARBY: Final = 2.0  # largest factor between a number and one near it


class Dimension(Protocol):
    """The values of one option."""

    def __contains__(self, value: object) -> bool: ...

    def draw(self, rng: random.Random) -> OptionValue:
        """Draw any of the values."""

    def near(self, value: OptionValue, rng: random.Random) -> OptionValue:
        """Draw one that is near a value of this dimension."""


class Choices(Value, frozen=True):
    """A few values, in order of size."""

    values: tuple[OptionValue, ...]

    def __contains__(self, value: object) -> bool:
        return value in self.values

    def draw(self, rng: random.Random) -> OptionValue:
        """Draw one of them."""
        return self.values[int(rng.random() * len(self.values))]

    def near(self, value: OptionValue, rng: random.Random) -> OptionValue:
        """Draw the next smaller or larger one."""
        at = self.values.index(value)
        nearby = self.values[max(at - 1, 0) : at] + self.values[at + 1 : at + 2]
        return Choices(nearby or self.values).draw(rng)


class LogRange(Value, frozen=True):
    """Numbers that are drawn evenly on a logarithmic scale."""

    low: float
    high: float

    def __contains__(self, value: object) -> bool:
        return isinstance(value, float) and self.low <= value <= self.high

    def draw(self, rng: random.Random) -> OptionValue:
        """Draw a number of two digits."""
        exponent = math.log(self.low) + rng.random() * math.log(self.high / self.low)
        return float(f"{math.exp(exponent):.{_DIGITS}g}")

    def near(self, value: OptionValue, rng: random.Random) -> OptionValue:
        """Draw a number up to twice as large or small."""
        assert isinstance(value, float), value  # noqa: S101 - it is of this dimension
        low, high = max(self.low, value / _NEARBY), min(self.high, value * _NEARBY)
        return LogRange(low, high).draw(rng)


_HIDDEN: Final = ((16,), (32,), (64,), (64, 64), (128,), (128, 64))
_DECAYS: Final = (0.0, 0.0001, 0.001, 0.01, 0.1)

# By option of ``Configuration``: its values, from the configuration without a search and the
# options above it, as drawn. A trial is to cost about what a fit costs, which holds for most.
SPACE: Final[dict[str, Callable[[Configuration, Drawn], Dimension]]] = {
    "optimiser": lambda _base, _drawn: Choices(("sgd", "adamw")),
    "learning_rate": lambda base, drawn: _RATES[drawn.get("optimiser", base.optimiser)],
    "hidden": lambda base, _drawn: _choices(base.hidden, _HIDDEN),
    "bins": lambda base, _drawn: _choices(base.bins, (0, 4, 8, 16)),
    "members": lambda base, _drawn: _multiples(base.members, (1, 2)),
    "weight_decay": lambda base, _drawn: _choices(base.weight_decay, _DECAYS),
    "batch_size": lambda base, _drawn: _multiples(base.batch_size, (1, 2, 4)),
    "epochs": lambda base, _drawn: _multiples(base.epochs, (0.25, 0.5, 1)),
}
_RATES: Final[Mapping[OptionValue, Dimension]] = {
    "sgd": LogRange(0.01, 0.5),
    "adamw": LogRange(0.0005, 0.03),
}


def _choices(own: _Option, others: tuple[_Option, ...]) -> Choices:
    """The value of the configuration without a search, and others."""
    return Choices(tuple(sorted({own, *others})))


def _multiples(number: int, factors: Sequence[float]) -> Choices:
    return Choices(tuple(sorted({max(1, round(number * factor)) for factor in factors})))


def propose(
    base: Configuration, free: Sequence[str], tried: Sequence[Drawn], best: Drawn | None
) -> dict[str, OptionValue] | None:
    """Draw the options of the next trial, a function of the seed and of the trials before.

    Args:
        base: the configuration without a search; the first trial has its options.
        free: names of the options that are searched.
        tried: the options of the trials before.
        best: those of the best of them; None if none was completed.

    Returns:
        Options that no trial has: every second time near the best ones, else any, and any where
        hardly any are left near them. None if hardly any are left at all.
    """
    if not tried:
        return {name: getattr(base, name) for name in free}
    rng = random.Random(derive_seed(base.seed, "tuning", len(tried)))  # noqa: S311 - no secret
    is_near = best is not None and len(tried) % 2 == 0
    for near in (best, None) if is_near else (None,):
        for _ in range(_MAX_TRIES):
            options = _draw(base, free, near, rng)
            if options not in tried:
                return options
    return None


def _draw(
    base: Configuration, free: Sequence[str], near: Drawn | None, rng: random.Random
) -> dict[str, OptionValue]:
    """Draw options from the space, or change about two of the options ``near``."""
    options: dict[str, OptionValue] = {}
    for name in (each for each in SPACE if each in free):
        dimension = SPACE[name](base, options)
        if near is None or near[name] not in dimension:
            options[name] = dimension.draw(rng)
        elif rng.random() < 2 / len(free):
            options[name] = dimension.near(near[name], rng)
        else:
            options[name] = near[name]
    return options
