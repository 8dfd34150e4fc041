"""The options of training, their defaults and presets, and options read from a TOML file."""

from __future__ import annotations

import tomllib
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Literal, TypedDict, Unpack

from runtime.errors import UsageError
from runtime.printable import join_names
from runtime.schema.names import closest_names
from runtime.surfaces import option
from trainer.schedule import parse_schedule
from trainer.seeds import DEFAULT_SEED, check_seed

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from pathlib import Path

    from runtime.bundle.manifest import Scalar

Preset = Literal["default", "accurate", "tutorial"]
DeviceName = Literal["cpu", "cuda"]
DeviceChoice = Literal["auto", "cpu", "cuda"]
Optimiser = Literal["sgd", "adamw"]
ClassWeights = Literal["none", "balanced"]

CHECKPOINT_EVERY_S = 5.0  # at most so much work is lost by a kill; writing takes milliseconds
MIN_BINS, MAX_BINS = 2, 256  # of a number that is encoded
_MAX_MEMBERS = 1000  # more is a typo
_LARGEST_FLOAT32 = 2.0**128 - 2.0**104


@dataclass(frozen=True, kw_only=True)
class Configuration:
    """Every option that influences the trained weights.

    Attributes:
        preset: supplies the options that were not set.
        hidden: widths of the hidden layers; 32 is the tutorial's network.
        standardise: train on (x - mean) / std and fold that into the first layer afterwards;
            raw prices and ratings make the loss badly conditioned.
        bins: piecewise linear encoding: so many bins of each number are inputs beside it, fewer
            where the table has few different values or is very wide or long; 0 is none.
        learning_rate: initial learning rate; standardised features tolerate 0.1.
        schedule: how it changes, see ``trainer.schedule``.
        optimiser: plain gradient descent, or AdamW.
        weight_decay: coefficient of weight decay, for all parameters.
        class_weights: balanced weights every class equally in the loss.
        epochs: maximum number of passes over the training rows.
        batch_size: rows per step.
        members: equal networks that are trained side by side and deployed as one, whose logits
            are the mean of theirs; ``hidden`` is of each.
        folds: parts of the training rows; member ``j`` leaves out part ``j % folds``, and the
            loss on the rows left out takes the place of the validation loss; 0 is none.
        validation: share of the training rows held out to select the best epoch; 0 is none.
        calibrate: divide the logits by the temperature with the lowest validation loss.
        patience: epochs without a better validation loss before early stopping.
        seed: of the data, the initial weights and the shuffling.
    """

    preset: Preset = "default"
    hidden: tuple[int, ...] = (32,)
    standardise: bool = True
    bins: int = 0
    learning_rate: float = 0.1
    schedule: str = "constant"
    optimiser: Optimiser = "sgd"
    weight_decay: float = 0.0
    class_weights: ClassWeights = "none"
    epochs: int = 10
    batch_size: int = 32
    members: int = 1
    folds: int = 0
    validation: float = 0.0
    calibrate: bool = False
    patience: int | None = None
    seed: int = DEFAULT_SEED

    def __post_init__(self) -> None:
        check_seed(self.seed)
        parse_schedule(self.schedule)
        numbers = {"epochs": self.epochs, "the batch size": self.batch_size}
        for what, number in (numbers | {"members": self.members}).items():
            if number < 1:
                raise UsageError(f"{what} must be at least 1, got {number}")
        if self.bins != 0 and not MIN_BINS <= self.bins <= MAX_BINS:
            raise UsageError(
                f"bins must be 0 for none, or {MIN_BINS} to {MAX_BINS}, got {self.bins}"
            )
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
        self._check_folds()
        self._check_validation()

    def _check_folds(self) -> None:
        if self.members > _MAX_MEMBERS:
            raise UsageError(f"members must be at most {_MAX_MEMBERS}, got {self.members}")
        if self.folds == 0:
            return
        if self.folds < 2:  # noqa: PLR2004 - a member must have rows of another fold
            raise UsageError(f"folds must be 0 or at least 2, got {self.folds}")
        if self.folds > self.members:
            raise UsageError(
                f"{option('folds', self.folds)} needs a member for each fold, which leaves it out: "
                f"add {option('members', self.folds)}, or use fewer folds"
            )
        if self.validation:
            raise UsageError(
                f"{option('folds', self.folds)} validates on all training rows, "
                f"{option('validation', self.validation)} on a share of them: use one"
            )

    def _check_validation(self) -> None:
        if not 0 <= self.validation < 1:
            raise UsageError(
                f"validation must be a share of the rows, 0 to below 1, got {self.validation}"
            )
        if self.patience is not None and self.patience < 1:
            raise UsageError(f"patience must be at least 1 epoch, got {self.patience}")
        needs = {"patience": self.patience is not None, "calibrate": self.calibrate}
        for name, is_needed in needs.items():
            if is_needed and self.validation == 0 and self.folds == 0:
                raise UsageError(
                    f"{name} needs validation rows: add {option('validation')}, e.g. 0.1"
                )

    def to_record(self, device: DeviceName) -> dict[str, Scalar]:
        """Convert to the options that a run stores; hidden widths and seed are separate fields.

        Args:
            device: the training device.

        Returns:
            Options by name.
        """
        options = asdict(self) | {"device": device}
        return {name: options[name] for name in options if name not in {"hidden", "seed"}}


PRESETS: dict[Preset, Configuration] = {
    "default": Configuration(),
    "accurate": Configuration(
        preset="accurate",
        hidden=(256,),
        bins=32,
        learning_rate=0.003,
        schedule="warmup-cosine:0.05",
        optimiser="adamw",
        weight_decay=0.1,
        epochs=150,
        batch_size=128,
        members=8,
        folds=8,
        calibrate=True,
    ),
    "tutorial": Configuration(preset="tutorial", standardise=False, learning_rate=0.01),
}


def parse_widths(text: str | None) -> tuple[int, ...] | None:
    """Parse hidden layer widths such as ``64,64``; empty text is no hidden layer."""
    if text is None:
        return None
    try:
        return tuple(int(width) for width in text.split(",")) if text.strip() else ()
    except ValueError:
        raise UsageError(
            f"hidden must be whole numbers separated by commas, such as 64,64, got {text!r}"
        ) from None


class Options(TypedDict, total=False):
    """Options that override a preset, as in ``Configuration``; None is not set."""

    hidden: tuple[int, ...] | None
    bins: int | None
    learning_rate: float | None
    schedule: str | None
    optimiser: Optimiser | None
    weight_decay: float | None
    class_weights: ClassWeights | None
    epochs: int | None
    batch_size: int | None
    members: int | None
    folds: int | None
    validation: float | None
    calibrate: bool | None
    patience: int | None
    seed: int | None


def configure(preset: Preset = "default", **options: Unpack[Options]) -> Configuration:
    """Build a configuration from a preset and the options that override it.

    Args:
        preset: supplies every option that is not set.
        **options: see ``Configuration``.

    Returns:
        A complete configuration.

    Raises:
        UsageError: when an option is out of its range.
    """
    given = {name: value for name, value in options.items() if value is not None}
    return override(PRESETS[preset], given)


def override(base: Configuration, given: Mapping[str, object]) -> Configuration:
    """Override options of a preset; those that were not set follow the ones that were.

    Validation rows take the place of folds, and there are no more folds than members; without
    either there is no calibration and no patience.
    """
    chosen = {**vars(base), **given}
    members, folds = chosen["members"], base.folds
    if "folds" not in given and isinstance(members, int):
        chosen["folds"] = 0 if chosen["validation"] or members < 2 else min(folds, members)  # noqa: PLR2004
    if not chosen["folds"] and not chosen["validation"]:
        chosen |= {"calibrate": False, "patience": None, **given}
    return Configuration(**chosen)


def read_options_file(
    path: Path,
    known: Collection[str],
    *,
    repeatable: Collection[str] = (),
    of_command: Collection[str] = (),
) -> dict[str, str | list[str]]:
    """Read options from a TOML file as the text that the command line would have.

    ``known`` are the long options without hyphens; a key may use hyphens or underscores. Options
    that are ``repeatable`` have a list of texts; those ``of_command`` are refused in a file.
    """
    options: dict[str, str | list[str]] = {}
    for key, value in _read_toml(path).items():
        name = key.replace("_", "-")
        if name in of_command:
            raise UsageError(f"{path}: {name} is for the command line: give --{name} there")
        if name not in known:
            near = closest_names(name, sorted(known), limit=1)
            hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(sorted(known))}"
            raise UsageError(f"{path}: there is no option {key!r}; {hint}")
        where = f"{path}: {name}"
        if name in repeatable:
            values = value if isinstance(value, list) else [value]
            options[name] = [_as_text(each, where) for each in values]
        else:
            options[name] = _as_text(value, where)
    return options


def _read_toml(path: Path) -> dict[str, object]:
    try:
        with path.open("rb") as stream:
            return tomllib.load(stream)
    except OSError as exc:
        raise UsageError(f"cannot read {path}: {exc.strerror}") from exc
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as exc:
        raise UsageError(f"{path} is not valid TOML: {exc}") from exc


def _as_text(value: object, where: str) -> str:
    """Format a value as on the command line; a list is joined by commas, quoted as in CSV."""
    parts = value if isinstance(value, list) else [value]
    if any(isinstance(part, dict | list) for part in parts):
        raise UsageError(f"{where} must be one value or a list of values")
    return join_names([str(part) for part in value]) if isinstance(value, list) else str(value)
