"""The schema: which columns a model reads, by name, and which classes it predicts."""

from __future__ import annotations

import datetime as dt
from collections import Counter
from functools import cached_property
from itertools import accumulate
from typing import TYPE_CHECKING, Literal

import msgspec
import numpy as np
import numpy.typing as npt

from runtime.errors import SchemaError
from runtime.schema.distribution import distribution_error
from runtime.schema.suggestions import missing_column_message

if TYPE_CHECKING:
    from collections.abc import Sequence


Float32Matrix = npt.NDArray[np.float32]
Unseen = Literal["error", "other"]
Missing = Literal["refused", "imputed"]


class OneHot(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How the texts of a column become numbers: one input a category, 1 for its text, else 0.

    Attributes:
        categories: the texts, in the order of the model's inputs; an empty one is a missing cell.
        unseen: what any other text is: a bad cell (``error``), or 0 in all inputs (``other``).
    """

    categories: tuple[str, ...]
    unseen: Unseen = "error"

    def __post_init__(self) -> None:
        if not self.categories:
            raise ValueError("a column of categories needs at least one")
        if doubled := _doubled(self.categories):
            raise ValueError(f"categories appear twice: {', '.join(doubled)}")


class Date(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How the dates of a column become numbers: days since an origin, with their fraction.

    float32 holds whole days exactly, and a time to 2⁻²⁴ of its distance from the origin: to the
    second within 128 days of it, to 11 seconds within ten years.

    Attributes:
        origin: an ISO date, midnight in UTC; the first day of training's table.
        unit: of the numbers.
    """

    origin: str
    unit: Literal["day"] = "day"

    def __post_init__(self) -> None:
        try:
            is_date = dt.date.fromisoformat(self.origin).isoformat() == self.origin
        except ValueError:
            is_date = False
        if not is_date:
            raise ValueError(f"the origin of dates is {self.origin!r}, no date such as 2024-12-31")


class Feature(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One column that a user gives: of numbers, of dates, or of categories.

    Attributes:
        name: the column's name, matched exactly.
        minimum: smallest value seen in training, in the column's own unit; of dates, as of all
            figures here, in days since their origin.
        maximum: largest value seen in training, likewise.
        dtype: what the model receives.
        missing: what an empty cell of numbers or dates means: a bad cell (``refused``), or NaN in
            the model's matrix, which the model fills itself (``imputed``).
        quantiles: deciles of the training rows, 0 to 100 %; empty where they are unknown.
        shares: of the training rows in each bin of ``distribution.cuts_of(quantiles)``, 0 to 1;
            empty likewise.
        one_hot: of a column of categories, whose minimum is 0 and maximum 1; None for
            others.
        date: of a column of dates; None for others.
    """

    name: str
    minimum: float
    maximum: float
    dtype: Literal["float32"] = "float32"
    missing: Missing = "refused"
    quantiles: tuple[float, ...] = ()
    shares: tuple[float, ...] = ()
    one_hot: OneHot | msgspec.UnsetType = msgspec.UNSET
    date: Date | msgspec.UnsetType = msgspec.UNSET

    def __post_init__(self) -> None:
        if not self.name:
            raise ValueError("a feature needs a name")
        if not self.minimum <= self.maximum:
            raise ValueError(f"feature {self.name!r}: minimum {self.minimum} > {self.maximum}")
        # A whole number given from Python is written as it is read back.
        msgspec.structs.force_setattr(self, "minimum", float(self.minimum))
        msgspec.structs.force_setattr(self, "maximum", float(self.maximum))
        msgspec.structs.force_setattr(self, "quantiles", tuple(map(float, self.quantiles)))
        msgspec.structs.force_setattr(self, "shares", tuple(map(float, self.shares)))
        plain = (self.minimum, self.maximum, self.quantiles) == (0.0, 1.0, ())
        if self.categories and (not plain or self.missing != "refused"):
            raise ValueError(
                f"feature {self.name!r}: categories range from 0 to 1, without quantiles and gaps"
            )
        if self.categories and self.origin:
            raise ValueError(f"feature {self.name!r}: a column holds categories or dates, not both")
        if self.quantiles or self.shares:
            self._check_distribution()

    @property
    def categories(self) -> tuple[str, ...]:
        """The texts of a column of categories; none for others."""
        return () if self.one_hot is msgspec.UNSET else self.one_hot.categories

    @property
    def origin(self) -> str:
        """Since when a column of dates counts days; empty for others."""
        return "" if self.date is msgspec.UNSET else self.date.origin

    @property
    def inputs(self) -> tuple[str, ...]:
        """Names of the model's inputs that the column becomes."""
        return tuple(f"{self.name}={text}" for text in self.categories) or (self.name,)

    def _check_distribution(self) -> None:
        wrong = distribution_error(
            self.quantiles, self.shares, minimum=self.minimum, maximum=self.maximum
        )
        if wrong:
            raise ValueError(f"feature {self.name!r}: {wrong}")


class Schema(msgspec.Struct, frozen=True, forbid_unknown_fields=True, dict=True):
    """The columns a model reads, in order, and the classes it answers.

    A user gives ``features`` by name; ``runtime.encoding`` makes ``inputs`` of them, which is
    what the model's matrix holds. For columns of numbers and dates both have the same names. What
    follows from the fields is worked out once: serving asks for it with every request.

    Attributes:
        target: name of the column the model was trained to predict.
        features: the columns a user gives, in the order of the model's inputs.
        classes: class names, in the order of the model's outputs.
    """

    target: str
    features: tuple[Feature, ...]
    classes: tuple[str, ...]

    def __post_init__(self) -> None:
        if not self.features:
            raise ValueError("a schema needs at least one feature")
        if len(self.classes) < 2:  # noqa: PLR2004 - a classifier has at least two
            raise ValueError("a schema needs at least two classes")
        for kind, names in (("feature", self.feature_names), ("class", self.classes)):
            if doubled := _doubled(names):
                raise ValueError(f"{kind} names appear twice: {', '.join(doubled)}")

    @cached_property
    def feature_names(self) -> tuple[str, ...]:
        """Names of the columns a user gives."""
        return tuple(feature.name for feature in self.features)

    @property
    def n_features(self) -> int:
        """Number of columns a user gives."""
        return len(self.features)

    @cached_property
    def inputs(self) -> tuple[str, ...]:
        """Names of the columns of the model's matrix."""
        return tuple(name for feature in self.features for name in feature.inputs)

    @cached_property
    def n_inputs(self) -> int:
        """Width of the model's matrix."""
        return sum(len(feature.categories) or 1 for feature in self.features)

    @cached_property
    def spans(self) -> tuple[slice, ...]:
        """Where in the model's matrix each feature is."""
        ends = list(accumulate((len(feature.inputs) for feature in self.features), initial=0))
        return tuple(map(slice, ends, ends[1:]))

    @cached_property
    def numbers(self) -> dict[int, Feature]:
        """The columns of numbers and dates, by where in the model's matrix they are."""
        spans = zip(self.spans, self.features, strict=True)
        return {span.start: feature for span, feature in spans if not feature.categories}

    @cached_property
    def gaps(self) -> tuple[int, ...]:
        """Columns of the model's matrix in which NaN stands for a missing number."""
        numbers = self.numbers.items()
        return tuple(at for at, feature in numbers if feature.missing == "imputed")

    @cached_property
    def is_numeric(self) -> bool:
        """Whether every feature is a column that holds numbers as a user gives it."""
        return not any(feature.categories or feature.origin for feature in self.features)

    @property
    def n_classes(self) -> int:
        """Number of classes."""
        return len(self.classes)

    def bind(self, columns: Sequence[str], *, loose: bool = False) -> tuple[int, ...]:
        """Find each feature in a table's columns, by name and never by position.

        Args:
            columns: the table's column names, in its order.
            loose: where no name matches exactly, take the one that differs only in case or in
                blanks around it.

        Returns:
            For each feature its position in ``columns``.

        Raises:
            SchemaError: when a feature's column is missing, with the nearest names, when one
                stands there twice, or when a loose match is not the only one.
        """
        doubled = _doubled([name for name in columns if name in self.feature_names])
        near = self._near(columns)
        missing = [
            name
            for name in self.feature_names
            if name not in columns and not (loose and len(near[name]) == 1)
        ]
        if missing:
            raise SchemaError(
                "\n".join(missing_column_message(name, columns, near[name]) for name in missing)
            )
        if doubled:
            raise SchemaError(
                f"column {doubled[0]!r} appears {columns.count(doubled[0])} times; "
                "rename or drop all but one"
            )
        bound = tuple(
            columns.index(name) if name in columns else near[name][0] for name in self.feature_names
        )
        if shared := _doubled([columns[at] for at in bound]):
            raise SchemaError(
                f"column {shared[0]!r} matches more than one feature when case and blanks are set "
                "aside; rename the columns to the features' exact names"
            )
        return bound

    def _near(self, columns: Sequence[str]) -> dict[str, list[int]]:
        """Positions of the columns that match each feature loosely and none exactly."""
        places: dict[str, list[int]] = {}
        for at, column in enumerate(columns):
            if column not in self.feature_names:
                places.setdefault(fold_name(column), []).append(at)
        return {name: places.get(fold_name(name), []) for name in self.feature_names}

    def to_json(self) -> str:
        """Write the schema as one line of JSON with a fixed key order."""
        return msgspec.json.encode(self).decode()


def fold_name(name: str) -> str:
    """Set aside what a loose match sets aside: case, and blanks around a name."""
    return name.strip().casefold()


def _doubled(names: Sequence[str]) -> list[str]:
    return [name for name, count in Counter(names).items() if count > 1]
