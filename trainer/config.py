"""The options of a fit and their presets: the one place where a default stands.

In: options that were given. Out: a ``Configuration`` with all of them, or a ``UsageError``.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Literal, TypedDict, Unpack

from runtime.errors import UsageError
from trainer.schedule import parse_schedule
from trainer.seeds import DEFAULT_SEED, check_seed

if TYPE_CHECKING:
    from runtime.bundle.manifest import Scalar

Preset = Literal["default", "tutorial"]
DeviceName = Literal["cpu", "cuda"]
DeviceChoice = Literal["auto", "cpu", "cuda"]
Optimiser = Literal["sgd", "adamw"]
ClassWeights = Literal["none", "balanced"]

TABLE_STEPS = 4_000  # what small tables need; see benchmarks/public_tables.py
CHECKPOINT_EVERY_S = 5.0  # a kill costs at most as much; writing one takes milliseconds
_LARGEST_FLOAT32 = 2.0**128 - 2.0**104


@dataclass(frozen=True, kw_only=True)
class Configuration:
    """Every option that has a say in the weights.

    Attributes:
        preset: where the options that were not given come from.
        hidden: widths of the hidden layers; 32 is the tutorial's network.
        standardise: train on (x - mean) / std and fold that into the first layer afterwards;
            raw prices and ratings make the loss's valley narrow and the steps useless.
        learning_rate: of gradient descent in the first epoch; standardised features bear 0.1.
        schedule: how it changes from epoch to epoch, see ``trainer.schedule``.
        optimiser: plain gradient descent, or AdamW.
        weight_decay: pull of all parameters towards zero.
        class_weights: balanced makes every class count the same, however many rows it has.
        epochs: passes over the training rows, at most.
        batch_size: rows a step.
        validation: share of the training rows that only choose the best epoch; 0 takes none.
        patience: epochs without a better validation loss after which the fit ends.
        seed: of the data, the initial weights and the order of rows.
    """

    preset: Preset = "default"
    hidden: tuple[int, ...] = (32,)
    standardise: bool = True
    learning_rate: float = 0.1
    schedule: str = "constant"
    optimiser: Optimiser = "sgd"
    weight_decay: float = 0.0
    class_weights: ClassWeights = "none"
    epochs: int = 10
    batch_size: int = 32
    validation: float = 0.0
    patience: int | None = None
    seed: int = DEFAULT_SEED

    def __post_init__(self) -> None:
        check_seed(self.seed)
        parse_schedule(self.schedule)
        for what, number in (("epochs", self.epochs), ("the batch size", self.batch_size)):
            if number < 1:
                raise UsageError(f"{what} must be at least 1, got {number}")
        if not 0 < self.learning_rate <= _LARGEST_FLOAT32:
            raise UsageError(
                f"the learning rate must be a finite float32 above 0, got {self.learning_rate}"
            )
        if not 0 <= self.weight_decay <= _LARGEST_FLOAT32:
            raise UsageError(
                f"the weight decay must be a finite float32, 0 or more, got {self.weight_decay}"
            )
        if any(width < 1 for width in self.hidden):
            raise UsageError(f"hidden layers need at least one unit, got {self.hidden}")
        self._check_validation()

    def _check_validation(self) -> None:
        if not 0 <= self.validation < 1:
            raise UsageError(
                f"validation must be a share of the rows, 0 to below 1, got {self.validation}"
            )
        if self.patience is None:
            return
        if self.patience < 1:
            raise UsageError(f"patience must be at least 1 epoch, got {self.patience}")
        if self.validation == 0:
            raise UsageError("patience needs rows to judge epochs by: give --validation, e.g. 0.1")

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


def parse_widths(text: str | None) -> tuple[int, ...] | None:
    """Read the widths of hidden layers.

    Args:
        text: for example ``64,64``; empty is no hidden layer; None is not given.

    Returns:
        The widths, or None.

    Raises:
        UsageError: when they are no whole numbers.
    """
    if text is None:
        return None
    try:
        return tuple(int(width) for width in text.split(",")) if text.strip() else ()
    except ValueError:
        raise UsageError(
            f"hidden must be whole numbers with commas between them, as 64,64, got {text!r}"
        ) from None


class Options(TypedDict, total=False):
    """Options that can be given beside a preset, as in ``Configuration``; None is not given."""

    hidden: tuple[int, ...] | None
    learning_rate: float | None
    schedule: str | None
    optimiser: Optimiser | None
    weight_decay: float | None
    class_weights: ClassWeights | None
    epochs: int | None
    batch_size: int | None
    validation: float | None
    patience: int | None
    seed: int | None


def configure(preset: Preset = "default", **options: Unpack[Options]) -> Configuration:
    """Take a preset and replace what was given.

    Args:
        preset: where everything that is not given comes from.
        **options: see ``Configuration``.

    Returns:
        A complete configuration.

    Raises:
        UsageError: when an option is out of its range.
    """
    given = {name: value for name, value in options.items() if value is not None}
    return replace(PRESETS[preset], **given)  # type: ignore[arg-type]  # as Options has them


def suit_table(configuration: Configuration, given: Options, rows: int) -> Configuration:
    """Choose what was not given by the size of a table: a small one needs more epochs.

    Args:
        configuration: complete.
        given: the options that a person chose: they stay.
        rows: to learn from.

    Returns:
        With the default preset, epochs enough for ``TABLE_STEPS`` and a learning rate that falls
        over them; the tutorial's options stay the tutorial's.
    """
    if configuration.preset != "default":
        return configuration
    steps = math.ceil(rows / configuration.batch_size)  # an epoch
    suited = {
        "epochs": max(configuration.epochs, math.ceil(TABLE_STEPS / steps)),
        "schedule": "cosine",
    }
    return replace(
        configuration,
        **{name: value for name, value in suited.items() if given.get(name) is None},  # type: ignore[arg-type]  # as Options has them
    )
