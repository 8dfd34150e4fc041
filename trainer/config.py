"""The options of a fit and their presets: the one place where a default stands.

In: options that were given. Out: a ``Configuration`` with all of them, or a ``UsageError``.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Literal, TypeVar

from runtime.errors import UsageError
from trainer.seeds import DEFAULT_SEED, check_seed

if TYPE_CHECKING:
    from runtime.manifest import Scalar

Preset = Literal["default", "tutorial"]
DeviceName = Literal["cpu", "cuda"]
DeviceChoice = Literal["auto", "cpu", "cuda"]
T = TypeVar("T")

_LARGEST_FLOAT32 = 2.0**128 - 2.0**104


@dataclass(frozen=True, kw_only=True)
class Configuration:
    """Every option that has a say in the weights.

    Attributes:
        preset: where the options that were not given come from.
        hidden: widths of the hidden layers; 32 is the tutorial's network.
        standardise: train on (x - mean) / std and fold that into the first layer afterwards;
            raw prices and ratings make the loss's valley narrow and the steps useless.
        learning_rate: of plain gradient descent; standardised features bear 0.1.
        epochs: passes over the training rows.
        batch_size: rows a step.
        seed: of the data, the initial weights and the order of rows.
    """

    preset: Preset = "default"
    hidden: tuple[int, ...] = (32,)
    standardise: bool = True
    learning_rate: float = 0.1
    epochs: int = 10
    batch_size: int = 32
    seed: int = DEFAULT_SEED

    def __post_init__(self) -> None:
        check_seed(self.seed)
        if self.epochs < 1:
            raise UsageError(f"epochs must be at least 1, got {self.epochs}")
        if self.batch_size < 1:
            raise UsageError(f"the batch size must be at least 1, got {self.batch_size}")
        if not 0 < self.learning_rate <= _LARGEST_FLOAT32:
            raise UsageError(
                f"the learning rate must be a finite float32 above 0, got {self.learning_rate}"
            )
        if any(width < 1 for width in self.hidden):
            raise UsageError(f"hidden layers need at least one unit, got {self.hidden}")

    def to_record(self, device: DeviceName) -> dict[str, Scalar]:
        """The options as a run stores them; hidden widths and seed have fields of their own.

        Args:
            device: where the fit ran.

        Returns:
            Options by name.
        """
        options = asdict(self) | {"device": device}
        return {name: options[name] for name in options if name not in {"hidden", "seed"}}


PRESETS: dict[Preset, Configuration] = {
    "default": Configuration(),
    "tutorial": Configuration(preset="tutorial", standardise=False, learning_rate=0.01),
}


def configure(
    preset: Preset = "default",
    *,
    learning_rate: float | None = None,
    epochs: int | None = None,
    batch_size: int | None = None,
    seed: int | None = None,
) -> Configuration:
    """Take a preset and replace what was given.

    Args:
        preset: where everything that is None comes from.
        learning_rate: see ``Configuration``.
        epochs: see ``Configuration``.
        batch_size: see ``Configuration``.
        seed: see ``Configuration``.

    Returns:
        A complete configuration.

    Raises:
        UsageError: when an option is out of its range.
    """
    base = PRESETS[preset]
    return replace(
        base,
        learning_rate=_given(learning_rate, base.learning_rate),
        epochs=_given(epochs, base.epochs),
        batch_size=_given(batch_size, base.batch_size),
        seed=_given(seed, base.seed),
    )


def _given(value: T | None, otherwise: T) -> T:
    return otherwise if value is None else value
