"""Check the keywords of ``fit_table``: their types and choices, as the command line does."""

from __future__ import annotations

from types import UnionType
from typing import TYPE_CHECKING, Any, Final, Literal, TypeVar, Union, cast, get_args, get_origin

import msgspec

from runtime.choices import Decimal
from runtime.errors import UsageError
from runtime.schema.features import Unseen
from trainer.config import ClassWeights, DeviceChoice, Optimiser, Preset
from trainer.data.source import BadRowsPolicy

if TYPE_CHECKING:
    from collections.abc import Mapping

T = TypeVar("T")
_Names = list[str] | None
_TYPES: Final[dict[str, Any]] = {
    "label": str,
    "features": _Names,
    "exclude": _Names,
    "categories": _Names,
    "fold_categories": bool,
    "missing": _Names,
    "date_format": str | list[str] | dict[str, str] | None,
    "unseen": Unseen | None,
    "rare": Unseen,
    "max_categories": int | None,
    "bad_rows": BadRowsPolicy,
    "test_fraction": float | None,
    "decimal": Decimal,
    "preset": Preset | None,
    "device": DeviceChoice,
    "seed": int | None,
    "hidden": int | list[int] | None,
    "bins": int | None,
    "epochs": int | None,
    "batch_size": int | None,
    "learning_rate": float | None,
    "schedule": str | None,
    "optimiser": Optimiser | None,
    "weight_decay": float | None,
    "class_weights": ClassWeights | None,
    "members": int | None,
    "folds": int | None,
    "validation": float | None,
    "calibrate": bool | None,
    "patience": int | None,
    "tune": int | str | None,
    "replace": bool,
    "force": bool,
    "resume": bool,
    "checkpoint_every": float,
}


def check_keywords(given: Mapping[str, Any]) -> None:
    """Raise ``UsageError`` for a value of another type than its keyword takes."""
    for name, value in given.items():
        if name in _TYPES:
            _check(name, value, _TYPES[name])


def _check(name: str, value: object, kind: Any) -> None:  # noqa: ANN401 - types of values
    try:
        msgspec.convert(to_plain(value), kind)
    except msgspec.ValidationError as exc:
        choices = ", ".join(map(repr, _choices(kind)))
        reason = f"choose {choices}" if choices else str(exc).replace("`", "").lower()
        hint = f": give [{value!r}]" if isinstance(value, str) and kind == _Names else ""
        raise UsageError(f"{name}={value!r}: {reason}{hint}") from exc


def _choices(kind: Any) -> tuple[str, ...]:  # noqa: ANN401 - as above
    """List the values of a ``Literal``, optional or not."""
    parts = get_args(kind) if get_origin(kind) in {Union, UnionType} else (kind,)
    found = [get_args(part) for part in parts if get_origin(part) is Literal]
    return tuple(choice for choices in found for choice in choices)


def to_plain(value: T) -> T:
    """Convert numbers of numpy to those of Python; other values are returned as they are."""
    if hasattr(value, "item") and hasattr(value, "dtype"):
        return cast("T", value.item())
    return value
